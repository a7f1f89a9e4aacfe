package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbell/pgbell/internal/loopback"
	"github.com/pgbell/pgbell/sse"
)

const (
	refreshEvery = 5 * time.Minute // while all is well
	retryAfter   = 5 * time.Second // the least time from one fetch's end to the next
	fetchTimeout = 5 * time.Second
	maxKeySet    = 512 << 10 // bytes
)

// keySet is the source that an issuer publishes. A fetch is a goroutine that ends
// within fetchTimeout; the library's own cache keeps several for good, retries by the
// server's headers, and would let each request fetch once more.
type keySet struct {
	url    string
	client *http.Client
	log    *slog.Logger

	mu      sync.Mutex
	keys    []key         // of the last good fetch, never changed
	good    time.Time     // when that ended; zero: none yet
	tried   time.Time     // when the last one ended
	failed  bool          // the last one
	pending chan struct{} // closed when the one under way ends; nil if there is none
}

func newKeySet(address string, log *slog.Logger) (*keySet, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address of a JWKS is a URL such as https://issuer.example/.well-known/jwks.json")
	case u.User != nil:
		return nil, errors.New("the URL of a JWKS has no user and password in it: the keys are public")
	case u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return nil, errors.New("the URL of a JWKS must be https: whoever can change the keys on their way can be anyone")
	}
	// Its connections are needed every few minutes: none is kept.
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{}).DialContext,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &keySet{url: address, client: &http.Client{Transport: transport, CheckRedirect: checkRedirect}, log: log}, nil
}

// checkRedirect follows redirects within the host alone: whoever can have another one
// asked, by an open redirect of the issuer's, could be anyone.
func checkRedirect(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 3:
		return errors.New("more than three redirects")
	case next.URL.Scheme != via[0].URL.Scheme || !strings.EqualFold(next.URL.Host, via[0].URL.Host):
		return errors.New("a redirect to another scheme, host or port is not followed")
	}
	return nil
}

// prefetch begins the first fetch, so that the log tells early if it fails.
func (s *keySet) prefetch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
}

func (s *keySet) find(ctx context.Context, id, alg string) ([]key, error) {
	s.mu.Lock()
	known := s.has(id)
	now := time.Now()
	rested := now.Sub(s.tried) >= retryAfter
	stale := now.Sub(s.good) >= refreshEvery
	if s.pending == nil && rested && (!known || stale) {
		s.begin()
	}
	wait := s.pending
	if known && (!stale || s.failed) { // don't let everyone wait for an issuer that is down
		wait = nil
	}
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.choose(id, alg)
}

// matches says whether k may be the key that a token calls id. A token need not say.
func matches(k key, id string) bool { return id == "" || k.id == id }

func (s *keySet) has(id string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return matches(k, id) })
}

// choose returns the keys that fit. s.mu is held.
func (s *keySet) choose(id, alg string) ([]key, error) {
	if !s.has(id) {
		if s.failed {
			return nil, fmt.Errorf("%w: the issuer's keys can't be fetched", sse.ErrUnavailable)
		}
		return nil, errors.New("the token's key is not among the issuer's")
	}
	var fit []key
	for _, k := range s.keys {
		if _, ok := k.algs[alg]; ok && matches(k, id) {
			fit = append(fit, k)
		}
	}
	if len(fit) == 0 {
		return nil, errors.New("the token's alg is not one of its key's")
	}
	return fit, nil
}

// begin begins a fetch. None is pending and s.mu is held.
func (s *keySet) begin() {
	done := make(chan struct{})
	s.pending = done
	go func() {
		defer close(done)
		keys, err := s.fetch()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending = nil
		s.tried = time.Now()
		first := s.good.IsZero() && !s.failed
		switch {
		case err == nil && len(keys) == 0:
			s.log.Warn("the JWKS has no key that can be used, no token is good", "host", s.host())
		case err == nil && (first || s.failed):
			s.log.Info("issuer's keys fetched", "host", s.host(), "keys", len(keys))
		case err != nil && !s.failed:
			s.log.Warn("issuer's keys can't be fetched, the old ones still count", "host", s.host(), "old", len(s.keys), "err", err)
		}
		if s.failed = err != nil; !s.failed {
			s.keys, s.good = keys, s.tried
		}
	}()
}

// host is what a log may have of the URL: the rest could be secret.
func (s *keySet) host() string {
	u, err := url.Parse(s.url)
	if err != nil { // newKeySet parsed it
		panic(err)
	}
	return u.Host
}

// fetch fetches the keys.
func (s *keySet) fetch() ([]key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	var inURL *url.Error
	if errors.As(err, &inURL) {
		return nil, inURL.Err
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxKeySet {
		return nil, errors.New("the answer is longer than 512 kB")
	}
	return parseKeySet(body)
}
