package repo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// TestQuickStartWorksAsShown goes through the README's "Attach a table": its SQL, its curl,
// its insert.
func TestQuickStartWorksAsShown(t *testing.T) {
	readme := readFile(t, "README.md")
	find := func(pattern string) string {
		t.Helper()
		match := regexp.MustCompile(pattern).FindStringSubmatch(readme)
		if match == nil {
			t.Fatalf("the README has nothing like %s", pattern)
		}
		return match[1]
	}
	attach := find("(?s)```sql\n(create table.*?)```")
	insert := find("`(insert into tasks[^`]*)`")
	header := find(`(?m)^curl -N -H '([^']*)'`)
	address := find(`(?m)^curl -N .*'http://127\.0\.0\.1:8080(/[^']*)'`)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	pgbell, database := build(t), pgtest.Database(t)
	t.Setenv("DATABASE_URL", database)
	if out, err := exec.CommandContext(ctx, pgbell, "migrate").CombinedOutput(); err != nil {
		t.Fatalf("pgbell migrate: %v\n%s", err, out)
	}
	base := serve(t, pgbell)

	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	run := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run(attach)

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, value, _ := strings.Cut(header, ": ")
	req.Header.Set(key, value)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := bufio.NewReader(resp.Body)
	read := func(event string) string {
		t.Helper()
		var seen strings.Builder
		for {
			line, err := stream.ReadString('\n')
			if err != nil {
				t.Fatalf("no event %s: %v; got:\n%s%s", event, err, &seen, line)
			}
			seen.WriteString(line)
			if line != "\n" {
				continue
			}
			if strings.Contains(seen.String(), "event: "+event+"\n") {
				return seen.String()
			}
			seen.Reset() // an id alone may come at any time
		}
	}
	read("ready")
	run(insert)

	// The README shows the frame: the same, but for the id and the time.
	shown := find("(?s)gives\n+```\n(.*?\n)```")
	varies := regexp.MustCompile(`(?m)^id: .*$|"at":"[^"]*"`)
	got := varies.ReplaceAllString(strings.TrimSpace(read("project:7")), "...")
	if want := varies.ReplaceAllString(strings.TrimSpace(shown), "..."); got != want {
		t.Errorf("got:\n%s\nthe README shows:\n%s", got, want)
	}
}

// serve runs pgbell serve until the test ends, and returns its URL once it is ready.
func serve(t *testing.T, pgbell string) string {
	t.Helper()
	cmd := exec.Command(pgbell, "serve", "--auth", "header", "--addr", "127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // ended already: Wait says how
		_, _ = io.Copy(io.Discard, log)
		if err := cmd.Wait(); err != nil {
			t.Errorf("pgbell serve: %v", err)
		}
	})
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, URL string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("not JSON in the log: %s", lines.Text())
		}
		if line.URL != "" {
			return line.URL
		}
	}
	t.Fatalf("pgbell serve ended without saying where it listens")
	return ""
}
