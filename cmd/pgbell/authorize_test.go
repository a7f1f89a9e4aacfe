package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// status is that of GET /events for user.
func status(t *testing.T, server, user, scope string) int {
	t.Helper()
	return ask(t, http.MethodGet, server+"/events?"+url.Values{"scope": {scope}}.Encode(), asUser(user)...).StatusCode
}

const members = `create table member (user_id text, scope text); insert into member values ('ann', 'project:7'), ('ann', 'project:8'), ('bob', 'project:8');
	create function may(user_id text, scope text) returns boolean stable language sql as 'select exists (select from member m where m.user_id = $1 and m.scope = $2)'`

func TestServeAsksTheDatabaseWhoMaySubscribe(t *testing.T) {
	db := migrated(t)
	exec1(t, db, members)
	p, server := beginServe(t, db, "--auth", "header", "--authorize-sql", "may", "--log-level", "debug")
	one, two := open(t, server, "ann", "project:7"), open(t, server, "ann", "project:8")
	bob := open(t, server, "bob", "project:8")
	for user, scope := range map[string]string{"bob": "project:7", "": "project:8", "ann": "project:77"} {
		if code := status(t, server, user, scope); code != 403 {
			t.Errorf("%q at %s: status %d, want 403", user, scope, code)
		}
	}
	p.waitLog(t, "the function of --authorize-sql does not allow it")

	// A member that is removed and disconnected is out at once, and stays out.
	exec1(t, db, `delete from member where user_id = 'ann' and scope = 'project:7'; select pgbell.disconnect('ann', 'project:7')`)
	if event, data := one.next(); event != "close" || data != `{"reason":"disconnected"}` {
		t.Errorf("got %q %s, want close", event, data)
	}
	if event, data := one.next(); event != "" {
		t.Errorf("after close: %q %s", event, data)
	}
	if code := status(t, server, "ann", "project:7"); code != 403 {
		t.Errorf("afterwards: status %d, want 403", code)
	}
	exec1(t, db, `select pgbell.disconnect('ann')`)
	if event, _ := two.next(); event != "close" {
		t.Errorf("got %q, want close", event)
	}
	exec1(t, db, `select pgbell.publish('project:8')`)
	if event, _ := bob.next(); event != "project:8" {
		t.Errorf("another user got %q, want what was published", event)
	}
}

func TestServeSaysWhatIsWrongWithTheAuthorizationFunction(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create function number(text, text) returns int language sql as 'select 1'`)
	wantError(t, runOn(t, db, "serve", "--addr", "127.0.0.1:0", "--authorize-sql", "nothing"), 1, "nothing(user_id text, scope text) does not exist")
	wantError(t, runOn(t, db, "serve", "--addr", "127.0.0.1:0", "--authorize-sql", "number"), 1, "does not return boolean")
	wantError(t, runOn(t, db, "serve", "--authorize-sql", ""), 2, "--authorize-sql is empty")
}

func TestServeLimitsStreams(t *testing.T) {
	db := migrated(t)
	_, server := beginServe(t, db, "--auth", "header", "--max-connections", "3", "--max-connections-per-user", "1")
	open(t, server, "ann", "a")
	if code := status(t, server, "ann", "a"); code != 429 {
		t.Errorf("second of a user: status %d, want 429", code)
	}
	open(t, server, "", "a")
	open(t, server, "", "a")
	if code := status(t, server, "bob", "a"); code != 503 {
		t.Errorf("one too many: status %d, want 503", code)
	}
	if _, metrics := get(t, server+"/metrics"); !strings.Contains(metrics, `reason="too-many-streams"} 1`) {
		t.Error("the metrics don't count it")
	}
	for _, args := range []string{"--max-connections 0", "--max-scopes 0", "--max-replay -1", "--max-rate -1", "--max-rate NaN", "--max-connections-per-user -1", "--newest-wins", "--max-rate x"} {
		wantError(t, runOn(t, db, append([]string{"serve"}, strings.Fields(args)...)...), 2, strings.Fields(args)[0])
	}
}

// One client asks much, each time another thing, and keeps its own questions waiting.
func TestWhoAsksMuchStarvesNobody(t *testing.T) {
	const many = 200 // 0.15s each: with four connections the last waits for longer than the 5s of a question
	db := migrated(t)
	exec1(t, db, `create table asked (who text);
		create function slow(user_id text, scope text) returns boolean language plpgsql as
			$$ begin insert into asked values (user_id); perform pg_sleep(0.15); return true; end $$`)
	p, server := beginServe(t, db, "--auth", "header", "--authorize-sql", "slow")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range many {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				url := fmt.Sprintf("%s/presence?scope=x:%d:%d", server, i, n)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Forwarded-User", "mallory")
				if resp, err := http.DefaultClient.Do(req); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for n := 0; n < 10; { // it is busy
		if err := conn.QueryRow(ctx, `select count(*) from asked`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if code := status(t, server, fmt.Sprintf("user%d", i), "project:7"); code != http.StatusOK {
			t.Errorf("a new stream of another user: status %d", code)
		}
	}
	p.waitLog(t, "too many questions") // mallory's own
}
