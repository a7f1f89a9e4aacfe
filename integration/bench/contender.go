//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// serve starts the contender's server of a database and returns once it listens there.
// Bare has none: then it is nil.
func (w *world) serve(ctx context.Context, database string) (*process, error) {
	switch contender(database) {
	case bare:
		return nil, nil
	case pgbell:
		args := []string{"serve", "--addr", "127.0.0.1:0", "--auth", "header", "--drain", "0s"}
		switch database {
		case grouped:
			args = append(args, "--groups-sql", "public.groups_of")
		case liveOnes:
			args = append(args, "--live-role", "bench_live")
		}
		p, err := start(ctx, w.url(database), w.binary(), args...)
		if err != nil {
			return nil, err
		}
		if err := p.waitReady(ctx); err != nil {
			p.stop()
			return nil, err
		}
		return p, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, w.url(database), self, serveArg, naive)
}

// serveAll starts the servers of databases. The returned function stops them.
func (w *world) serveAll(ctx context.Context, databases ...string) (stop func(), err error) {
	var all []*process
	stop = func() {
		for _, p := range all {
			p.stop()
		}
	}
	for _, database := range databases {
		p, err := w.serve(ctx, database)
		if err != nil {
			stop()
			return nil, err
		}
		all = append(all, p)
	}
	return stop, nil
}

// waitReady waits until pgbell says that it has caught up.
func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.done:
			return fmt.Errorf("pgbell ended: %s", p.lastLine())
		case <-ctx.Done():
			return fmt.Errorf("wait for pgbell: %w: %s", context.Cause(ctx), p.lastLine())
		}
	}
}

// request returns what a client sends to a contender's server to hear of a scope.
func request(name, scope string) string {
	path := "/events?scope=" + scope
	switch {
	case name == naive:
		path = "/events?stream=" + scope
	case name == liveOnes:
		path = "/events?" + scope
	}
	who := user
	if name == grouped || name == owned {
		who = strings.Replace(scope, "project:", "user", 1)
	}
	return "GET " + path + " HTTP/1.1\r\nHost: bench\r\nX-Forwarded-User: " + who + "\r\n\r\n"
}
