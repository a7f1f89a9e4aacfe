package main

import (
	"net/http"

	"github.com/pgbell/pgbell/sse"
)

// whoAsks tells pgbell who opens a stream: the same cookie as on every page.
func whoAsks(r *http.Request) (sse.Identity, error) {
	u, err := signedIn(r)
	return sse.Identity{UserID: u.ID}, err // an error is answered with 401
}
