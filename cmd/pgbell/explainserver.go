package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/bus"
)

// presenceClient asks a running pgbell serve who is subscribed.
type presenceClient struct {
	server *url.URL
	header http.Header
	token  bool // asks in the name of a token, which need not be the user's
}

func presenceFromFlags(c *cli.Command) (presenceClient, error) {
	server, err := url.Parse(c.String("server"))
	if err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" {
		return presenceClient{}, usagef("--server is a URL such as http://127.0.0.1:8080")
	}
	p := presenceClient{server: server, header: http.Header{}}
	token := os.Getenv("PGBELL_TOKEN")
	if file := c.String("token-file"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return presenceClient{}, fmt.Errorf("--token-file: %w", err)
		}
		token = string(text)
	}
	if token = strings.TrimSpace(token); token != "" {
		p.token = true
		p.header.Set("Authorization", "Bearer "+token)
	} else if user := c.String("as"); user != "" {
		p.header.Set(c.String("auth-header"), user)
	}
	return p, nil
}

// all asks for each scope of e. That it can't be asked is no failure.
func (p presenceClient) all(ctx context.Context, e *explanation) {
	e.Server = p.server.Redacted()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for i := range e.Scopes {
		s := &e.Scopes[i]
		if s.Scope == "" {
			continue
		}
		var err error
		if s.Connections, err = p.ask(ctx, s.Scope); err == nil {
			continue
		}
		var refused *refusedError
		if !errors.As(err, &refused) {
			e.ServerError = oneLine(err.Error())
			return
		}
		s.Refused = oneLine(refused.Error())
		s.forbidden = refused.status == http.StatusForbidden && !p.token
		if refused.status == http.StatusUnauthorized {
			e.ServerError = s.Refused + ": give it a token by --token-file or PGBELL_TOKEN"
			return
		}
	}
}

// refusedError is a server's no to one scope.
type refusedError struct {
	status int
	detail string
}

func (e *refusedError) Error() string { return fmt.Sprintf("it answers %d %s", e.status, e.detail) }

func (p presenceClient) ask(ctx context.Context, scope string) ([]bus.Connection, error) {
	u := p.server.JoinPath("presence")
	u.RawQuery = url.Values{"scope": {scope}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = p.header
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) {
			err = where.Err // the URL is said already
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
			problem.Detail = http.StatusText(resp.StatusCode)
		}
		return nil, &refusedError{resp.StatusCode, strings.TrimSuffix(problem.Detail, ".")}
	}
	var present struct{ Connections []bus.Connection }
	if err := json.Unmarshal(body, &present); err != nil || present.Connections == nil {
		return nil, errors.New("what answers there is no pgbell")
	}
	return present.Connections, nil
}
