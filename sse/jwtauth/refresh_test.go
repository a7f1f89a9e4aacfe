package jwtauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/sse"
)

// pass lets d pass, and what is to happen then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantAlice(t *testing.T, auth sse.AuthenticateFunc, name, kid string) {
	t.Helper()
	if id, err := ask(auth, by(name, kid, "RS256")); err != nil || id.UserID != "alice" {
		t.Errorf("token by %s as %q: got %+v, %v, want alice", name, kid, id, err)
	}
}

func wantUnknown(t *testing.T, auth sse.AuthenticateFunc, name, kid string) {
	t.Helper()
	id, err := ask(auth, by(name, kid, "RS256"))
	wantRefused(t, id, err, "", "not among the issuer's")
	if errors.Is(err, sse.ErrUnavailable) {
		t.Errorf("got %v, want it refused for good", err)
	}
}

func wantFetches(t *testing.T, i *issuer, want int) {
	t.Helper()
	if got := i.fetches(); got != want {
		t.Errorf("%d fetches, want %d", got, want)
	}
}

func TestUnknownKeyIsFetchedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		auth := newAuth(t, Config{JWKSURL: i.URL})
		wantAlice(t, auth, "RSA", "old")
		i.publish(published("RSA", "old", nil), published("RSA again", "new", nil))
		pass(retryAfter)
		wantAlice(t, auth, "RSA again", "new")
		wantAlice(t, auth, "RSA", "old")
		wantFetches(t, i, 2)
	})
}

func TestUnknownKeysAreFetchedAtMostOnceInFiveSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		auth := newAuth(t, Config{JWKSURL: i.URL})
		wantUnknown(t, auth, "RSA again", "new") // after the first fetch
		wantFetches(t, i, 1)
		for second := range 60 {
			for range 10 {
				wantUnknown(t, auth, "RSA again", "new")
			}
			wantFetches(t, i, 1+second/5)
			pass(time.Second)
		}
	})
}

func TestConcurrentRequestsShareAFetch(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 100) // of the issuer, outside
	bubble(t, func(t *testing.T, i *issuer) {
		auth := newAuth(t, Config{JWKSURL: i.URL})
		wantAlice(t, auth, "RSA", "old")
		pass(retryAfter)
		i.answer(func(w http.ResponseWriter, r *http.Request) { begun <- struct{}{}; <-release })
		var asked sync.WaitGroup
		answers := make(chan error, 50)
		for range cap(answers) {
			asked.Go(func() {
				_, err := ask(auth, by("RSA again", "new", "RS256"))
				answers <- err
			})
		}
		<-begun
		wantAlice(t, auth, "RSA", "old") // does not wait
		if len(answers) > 0 {
			t.Errorf("%d requests did not wait for the fetch", len(answers))
		}
		close(release)
		asked.Wait()
		wantFetches(t, i, 2)
	})
}

func TestKeysAreFetchedAgainEveryFiveMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		auth := newAuth(t, Config{JWKSURL: i.URL})
		wantAlice(t, auth, "RSA", "old")
		i.publish(published("RSA again", "new", nil))
		pass(refreshEvery - time.Second)
		wantAlice(t, auth, "RSA", "old")
		wantFetches(t, i, 1)
		pass(time.Second)
		wantUnknown(t, auth, "RSA", "old") // the very first request after that
		wantFetches(t, i, 2)
	})
}

// An issuer that takes all its keys back has a reason to.
func TestKeySetWithoutKeysIsBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		var log log
		auth := newAuth(t, Config{JWKSURL: i.URL, Logger: log.logger()})
		wantAlice(t, auth, "RSA", "old")
		i.answer(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) })
		pass(refreshEvery)
		wantUnknown(t, auth, "RSA", "old")
		if !strings.Contains(log.String(), "no key that can be used") {
			t.Errorf("not logged:\n%s", &log)
		}
	})
}

func TestLastKeysCountWhileTheIssuerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		var log log
		auth := newAuth(t, Config{JWKSURL: i.URL, Logger: log.logger()})
		wantAlice(t, auth, "RSA", "old")
		i.fail()
		for range 30 {
			pass(time.Minute)
			wantAlice(t, auth, "RSA", "old")
			if i.fetches() > 1 { // before, it is not known to be down
				id, err := ask(auth, by("RSA again", "new", "RS256"))
				wantUnavailable(t, id, err)
			}
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings, want 1:\n%s", got, &log)
		}
		i.publish(published("RSA again", "new", nil))
		pass(retryAfter)
		wantAlice(t, auth, "RSA again", "new")
		wantUnknown(t, auth, "RSA", "old")
		if got := strings.Count(log.String(), "issuer's keys fetched"); got != 2 {
			t.Errorf("%d times fetched, want at first and after the failure:\n%s", got, &log)
		}
	})
}

func TestServerStartsBeforeTheIssuer(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		i.fail()
		var log log
		auth := newAuth(t, Config{JWKSURL: i.URL, Logger: log.logger()})
		pass(0) // no request yet
		if wantFetches(t, i, 1); strings.Count(log.String(), "502") != 1 {
			t.Errorf("the log does not say why:\n%s", &log)
		}
		for range 3 {
			id, err := ask(auth, by("RSA", "old", "RS256"))
			wantUnavailable(t, id, err)
		}
		wantFetches(t, i, 1)
		i.publish(published("RSA", "old", nil))
		pass(retryAfter)
		wantAlice(t, auth, "RSA", "old")
	})
}

func TestClosedIssuerIsDown(t *testing.T) {
	i := newIssuer(t)
	i.Close()
	id, err := ask(newAuth(t, Config{JWKSURL: i.URL}), by("RSA", "old", "RS256"))
	wantUnavailable(t, id, err)
}

// hang is an issuer that takes connections and answers none.
type hang struct{ fetches int }

func (h *hang) RoundTrip(r *http.Request) (*http.Response, error) {
	h.fetches++
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestIssuerThatHangsHoldsARequestForFiveSecondsAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		set, err := newKeySet(i.URL, (&log{}).logger())
		if err != nil {
			t.Fatal(err)
		}
		a := &authenticator{keys: set}
		wantAlice(t, a.authenticate, "RSA", "old")
		silent := &hang{}
		set.client.Transport = silent
		took := func(want time.Duration, ask func()) {
			t.Helper()
			begin := time.Now()
			ask()
			if got := time.Since(begin); got != want {
				t.Errorf("took %v, want %v", got, want)
			}
		}
		pass(refreshEvery)
		took(fetchTimeout, func() { wantAlice(t, a.authenticate, "RSA", "old") }) // once, then it is known
		for range 10 {
			pass(retryAfter)
			took(0, func() { wantAlice(t, a.authenticate, "RSA", "old") })
			took(fetchTimeout, func() {
				id, err := ask(a.authenticate, by("RSA again", "new", "RS256"))
				wantUnavailable(t, id, err)
			})
			took(0, func() {
				id, err := ask(a.authenticate, by("RSA again", "new", "RS256"))
				wantUnavailable(t, id, err)
			})
		}
		if silent.fetches != 11 {
			t.Errorf("%d fetches, want 11", silent.fetches)
		}
	})
}

func TestRequestThatIsGoneDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, i *issuer) {
		set, err := newKeySet(i.URL, (&log{}).logger())
		if err != nil {
			t.Fatal(err)
		}
		set.client.Transport = &hang{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := set.find(ctx, "new", "RS256"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		pass(fetchTimeout)
	})
}
