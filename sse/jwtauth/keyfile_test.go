package jwtauth

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/internal/reload"
)

const newSecret = "another secret, as long as need be"

func believes(t *testing.T, auth func(string) error, old, new bool) {
	t.Helper()
	for _, by := range []struct {
		secret string
		want   bool
	}{{secret, old}, {newSecret, new}} {
		if err := auth(craft(plain, good(), "HS256", []byte(by.secret))); (err == nil) != by.want {
			t.Errorf("token by %q: got %v, want it believed: %v", by.secret, err, by.want)
		}
	}
}

func TestKeyFileIsReadAgainWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log log
		path := write(t, secret)
		f := newAuth(t, Config{SecretFile: path, Logger: log.logger()})
		auth := func(token string) error { _, err := ask(f, token); return err }
		replace := func(text string) {
			t.Helper()
			next := filepath.Join(t.TempDir(), "next")
			if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, path); err != nil {
				t.Fatal(err)
			}
		}

		time.Sleep(reload.Every)
		believes(t, auth, true, false)
		replace(newSecret)
		believes(t, auth, true, false) // looked just now
		time.Sleep(reload.Every)
		believes(t, auth, false, true)

		replace("short")
		for range 3 {
			time.Sleep(reload.Every)
			believes(t, auth, false, true)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != 1 || !strings.Contains(log.String(), "at least 32") {
			t.Errorf("%d warnings, want one that says why:\n%s", got, &log)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reload.Every)
		believes(t, auth, false, true)
		replace(secret)
		time.Sleep(reload.Every)
		believes(t, auth, true, false)

		// In place, and of the same length.
		if err := os.WriteFile(path, []byte(strings.ToUpper(secret)), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reload.Every)
		believes(t, auth, false, false)
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), newSecret) {
			t.Errorf("the log has a secret:\n%s", &log)
		}
	})
}

// What a shell makes of <(get-secret) can't be read twice, and would block.
func TestPipeIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		written := make(chan error, 1)
		go func() { written <- os.WriteFile(path, []byte(secret), 0o600) }()
		f, err := openKeyFile(path, "secret file", secretKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		time.Sleep(reload.Every)
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.find(t.Context(), "", "HS256"); err != nil {
			t.Error(err)
		}
	})
}
