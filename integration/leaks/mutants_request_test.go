package leaks

import (
	"context"
	"net/http"
	"strings"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

// replayed returns a seam that applies f to each change of a replay, and leaves out
// those for which it is false.
func replayed(f func(c *journal.Change) bool) seams {
	return seams{replay: func(real sse.ReplayFunc) sse.ReplayFunc {
		return func(ctx context.Context, since journal.Cursor) (*journal.Replay, error) {
			r, err := real(ctx, since)
			if err != nil || r.Records == nil {
				return r, err
			}
			mutated := *r
			mutated.Records = nil // they are the tail's
			for _, record := range r.Records {
				kept := []journal.Change{}
				for _, c := range record.Unpack().Changes {
					if fence(c.Scopes) || f(&c) {
						kept = append(kept, c)
					}
				}
				other := *record
				other.Changes = kept
				mutated.Records = append(mutated.Records, &other)
			}
			return &mutated, nil
		}
	}}
}

// replayMutants break what a client gets that comes back.
var replayMutants = []mutant{
	{"replay", "BYTES", replayed(func(c *journal.Change) bool { c.Audience = bus.Audience{}; return true })},
	{"a replay tells the old side what the row is", "BYTES", replayed(func(c *journal.Change) bool {
		if c.Old != nil {
			c.Audience = union(c.Audience, c.Old.Audience)
			c.Old = nil
		}
		return true
	})},
	{"a replay leaves the moved out", "LOST", replayed(func(c *journal.Change) bool { c.Old = nil; return true })},
	{"a replay is empty", "LOST", replayed(func(*journal.Change) bool { return false })},
}

// authenticated returns a seam that takes one user for another.
func authenticated(f func(user string) string) seams {
	return seams{authenticate: func(real sse.AuthenticateFunc) sse.AuthenticateFunc {
		return func(r *http.Request) (sse.Identity, error) {
			id, err := real(r)
			id.UserID = f(id.UserID)
			return id, err
		}
	}}
}

// asked returns a seam that alters requests before the handler sees them.
func asked(f func(r *http.Request)) seams {
	return seams{handler: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f(r)
			next.ServeHTTP(w, r)
		})
	}}
}

// requestMutants break who asks, and for what.
var requestMutants = []mutant{
	{"request", "BYTES", authenticated(strings.ToLower)},
	{"letters that look alike are the same", "BYTES", authenticated(func(user string) string { return strings.ReplaceAll(user, "а", "a") })},
	{"anonymous is a user", "BYTES", authenticated(func(user string) string {
		if user == "" {
			return "ann"
		}
		return user
	})},
	{"a user is anonymous", "LOST", authenticated(func(user string) string { return strings.TrimPrefix(user, "bob") })},
	{"presence for all", "PRESENCE", seams{authorize: func(context.Context, sse.Identity, string) (bool, error) { return true, nil }}},
	{"a refused scope is passed over", "REFUSED", asked(func(r *http.Request) {
		if q := r.URL.Query(); r.URL.Path == "/events" && len(q["scope"]) > 1 {
			r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "scope=private%3A1", "")
		}
	})},
	{"a scope that was not asked for", "SCOPE", asked(func(r *http.Request) {
		if r.URL.Path == "/events" {
			r.URL.RawQuery += "&scope=project:3"
		}
	})},
	{"an origin is not left out", "DUE", asked(func(r *http.Request) { r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "origin=", "o=") })},
	{"a last id is ignored", "LOST", asked(func(r *http.Request) {
		r.Header.Del("Last-Event-ID")
		r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "since=", "s=")
	})},
}
