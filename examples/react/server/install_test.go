package main

import (
	"log"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPageAndReadmeLookWhereTheServerIs(t *testing.T) {
	for _, name := range []string{"vite.config.ts", "README.md"} {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		addresses := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(string(text), -1)
		if !slices.Equal(addresses, []string{defaultAddr}) {
			t.Errorf("%s has %q, want %q", name, addresses, defaultAddr)
		}
	}
}

func TestWithoutADatabaseOneLineSaysWhatToDo(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, c := range []struct{ name, url, want string }{
		{"nobody answers", "postgres://ann:hunter2@" + closed.Addr().String() + "/garden", "connection refused"},
		{"not a URL", "postgres://ann:hunter2@localhost:garden/garden", "something else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var logged strings.Builder
			log.SetOutput(&logged)
			defer log.SetOutput(os.Stderr)
			err = run(t.Context(), c.url, "dist", ln)
			if err == nil {
				t.Fatal("run returned no error")
			}
			got := err.Error()
			if !strings.HasPrefix(got, "set DATABASE_URL, such as postgres://") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want what to set, and %q", got, c.want)
			}
			for _, secret := range []string{"hunter2", "garden", "\n"} {
				if strings.Contains(got, secret) {
					t.Errorf("%q has %q in it", got, secret)
				}
			}
			if logged.Len() > 0 {
				t.Errorf("it logged %q before it was there", logged.String())
			}
		})
	}
}
