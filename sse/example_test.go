package sse_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gorilla/mux"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// Streams next to an application's own routes, for users whom it knows by a cookie.
// A listener feeds the bus, and is what Replay and Ready come from: see
// examples/embed for the whole of it.
func ExampleNewHandler() {
	b, err := bus.New(bus.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sessions := map[string]string{"5f2c": "alice"}
	h, err := sse.NewHandler(b, sse.Config{
		Authenticate: func(r *http.Request) (sse.Identity, error) {
			cookie, err := r.Cookie("session")
			if err != nil {
				return sse.Identity{}, err
			}
			user, ok := sessions[cookie.Value]
			if !ok {
				return sse.Identity{}, errors.New("unknown session")
			}
			return sse.Identity{UserID: user}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := mux.NewRouter()
	h.Register(r)
	server := httptest.NewServer(r)
	defer server.Close()
	defer h.Drain(0) // first, so that the server need not wait for streams

	b.Advance("5ca1ab1e-700:700:") // from here on, this and the next are a listener's work
	emit := func() {
		b.Emit(bus.ChangeEvent{Scope: "tasks", Op: bus.OpInsert, Table: "public.tasks", Audience: bus.Only("bob")})
		b.Emit(bus.ChangeEvent{Scope: "tasks", Op: bus.OpDelete, Table: "public.tasks", Audience: bus.Only("alice")})
	}

	req, _ := http.NewRequest(http.MethodGet, server.URL+"/events?scope=tasks", nil)
	req.AddCookie(&http.Cookie{Name: "session", Value: "5f2c"})
	resp, err := server.Client().Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "data: ") && strings.Contains(line, `"op":`):
			fmt.Println(line)
			return
		case strings.HasPrefix(line, "data: "): // of the ready event
			fmt.Println(line)
			emit()
		case strings.HasPrefix(line, "event: "):
			fmt.Println(line)
		}
	}
	// Output:
	// event: ready
	// data: {"cursor":"5ca1ab1e-700:700:","scopes":["tasks"]}
	// event: tasks
	// data: {"scope":"tasks","op":"delete","table":"public.tasks"}
}
