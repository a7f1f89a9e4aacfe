package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"github.com/pgbell/pgbell/js"
)

// moduleHandler answers GET /pgbell.js with the browser's side of this very version.
func moduleHandler() http.Handler {
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(js.Module))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache") // kept, but asked for: it must fit the server
		h.Set("ETag", tag)
		// There is nothing in it to protect, and a page of another origin can import it
		// only if this is said. Whether it may then read a stream is another question.
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(js.Module))
	})
}
