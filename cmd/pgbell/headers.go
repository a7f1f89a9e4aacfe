package main

import (
	"net"
	"net/http"

	"github.com/pgbell/pgbell/internal/loopback"
)

// noSniff keeps browsers from taking an answer for something else than it says.
func noSniff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// loopbackNames refuses requests that name another host than this machine: they
// come from a page whose name was pointed here (DNS rebinding), and which the
// browser therefore takes for one of ours. An address can't be pointed elsewhere,
// and a port says nothing: a tunnel may give it another.
func loopbackNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !namesLoopback(r.Host) {
			http.Error(w, "This is only for requests to localhost or to a loopback address.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// namesLoopback says whether a Host header names this machine.
func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return loopback.Is(host)
}
