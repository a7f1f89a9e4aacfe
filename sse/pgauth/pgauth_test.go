package pgauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/sse"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// members says who may hear what, and counts how often it is asked.
const members = `
create table member (user_id text, scope text);
create sequence asked;
create schema "App";
create function "App"."may ""listen""" (user_id text, scope text) returns boolean language sql security definer as $$
	select nextval('public.asked') > 0 and case when user_id = 'unknown' then null else
		exists (select from public.member m where m.user_id = coalesce($1, 'anonymous') and m.scope = $2) end $$`

const function = `"App"."may ""listen"""`

type world struct {
	t    *testing.T
	conn *pgx.Conn
	*Authorizer
}

func newWorld(t *testing.T, function string, cfg Config) world {
	t.Helper()
	url := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	w := world{t: t, conn: conn}
	w.exec(members)
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute // a busy machine
	}
	if w.Authorizer, err = New(conn.Config(), function, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func (w world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.conn.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w world) want(user, scope string, want bool) {
	w.t.Helper()
	if got, err := w.Authorize(w.t.Context(), sse.Identity{UserID: user}, scope); got != want || err != nil {
		w.t.Errorf("%q at %s: got %v, %v, want %v", user, scope, got, err, want)
	}
}

// asked returns how often the function was.
func (w world) asked() (n int) {
	w.t.Helper()
	if err := w.conn.QueryRow(w.t.Context(), "select case when is_called then last_value else 0 end from asked").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestFunctionDecides(t *testing.T) {
	w := newWorld(t, function, Config{})
	w.exec("insert into member values ('ann', 'a'), ('anonymous', 'b'), ('it''s; --', 'c')")
	w.want("ann", "a", true)
	w.want("ann", "b", false)
	w.want("", "a", false)
	w.want("", "b", true)
	w.want("it's; --", "c", true)
	w.want("unknown", "a", false) // null
}

func TestAnswersAreKeptForAWhile(t *testing.T) {
	w := newWorld(t, function, Config{CacheFor: time.Hour})
	for range 3 {
		w.want("ann", "a", false)
	}
	if n := w.asked(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	w.want("bob", "a", false)
	w.exec("insert into member values ('ann', 'a'), ('bob', 'a')")
	w.want("ann", "a", false)
	w.Forget("ann")
	w.want("ann", "a", true)
	w.want("bob", "a", false)

	w = newWorld(t, function, Config{CacheFor: time.Nanosecond})
	w.want("ann", "a", false)
	w.exec("insert into member values ('ann', 'a')")
	w.want("ann", "a", true)
}

// An answer that was on its way when somebody was forgotten is not kept, nor given to
// who asks later.
func TestForgottenWhileAsked(t *testing.T) {
	w := newWorld(t, function, Config{CacheFor: time.Hour})
	w.exec("insert into member values ('ann', 'a')")
	other, err := pgx.Connect(t.Context(), w.conn.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	w.exec("begin; lock table member in access exclusive mode")
	first := make(chan bool)
	go func() {
		ok, _ := w.Authorize(context.Background(), sse.Identity{UserID: "ann"}, "a")
		first <- ok
	}()
	for waiting := 0; waiting == 0; { // until it is asked
		if err := other.QueryRow(t.Context(), "select count(*) from pg_locks where not granted").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	w.Forget("ann")
	second := make(chan bool)
	go func() {
		ok, _ := w.Authorize(context.Background(), sse.Identity{UserID: "ann"}, "a")
		second <- ok
	}()
	for waiting := 0; waiting < 2; {
		if err := other.QueryRow(t.Context(), "select count(*) from pg_locks where not granted").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	w.exec("commit")
	<-first
	<-second
	if n := w.asked(); n != 2 {
		t.Errorf("asked %d times, want twice", n)
	}
}

func TestManyWhoAskTheSameAreOneQuestion(t *testing.T) {
	w := newWorld(t, function, Config{CacheFor: time.Hour})
	w.exec("insert into member values ('ann', 'a')")
	w.exec("begin; lock table member in access exclusive mode")
	var leaving, staying sync.WaitGroup
	impatient, leave := context.WithCancel(t.Context())
	for range 50 {
		leaving.Go(func() {
			if ok, err := w.Authorize(impatient, sse.Identity{UserID: "ann"}, "a"); ok || !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v, %v", ok, err)
			}
		})
		staying.Go(func() { w.want("ann", "a", true) })
	}
	leave()
	leaving.Wait()
	w.exec("commit")
	staying.Wait()
	if n := w.asked(); n > 5 { // some may have found no answer, and none that was on its way any more
		t.Errorf("asked %d times", n)
	}
}

func TestNoAnswerIsNoPermission(t *testing.T) {
	w := newWorld(t, function, Config{Timeout: 2 * time.Second, MaxConns: 1})
	w.exec("insert into member values ('ann', 'a'), ('ann', 'b')")
	w.want("ann", "a", true)
	w.exec("begin; lock table member in access exclusive mode")
	for range 2 { // more than there are connections
		if ok, err := w.Authorize(t.Context(), sse.Identity{UserID: "ann"}, "b"); ok || err == nil {
			t.Errorf("got %v, %v", ok, err)
		}
	}
	w.exec("commit")
	w.want("ann", "b", true)
	w.exec("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbell authorize' and datname = current_database()")
	w.exec("insert into member values ('ann', 'c')")
	for { // the pool may find out only now
		if ok, err := w.Authorize(t.Context(), sse.Identity{UserID: "ann"}, "c"); err == nil {
			if !ok {
				t.Error("not allowed after a reconnect")
			}
			break
		}
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	w := newWorld(t, function, Config{MaxConns: 2})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { w.want("ann", fmt.Sprint(i), false) })
	}
	all.Wait()
	if n := w.pool.Stat().TotalConns(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

func TestCheckSaysWhatIsWrongWithTheFunction(t *testing.T) {
	for name, want := range map[string]string{
		function:             "",
		"nothing":            "does not exist",
		"App.may":            "does not exist",
		"may(text,text)":     "does not exist",
		"a'b; drop table x":  "does not exist",
		"number":             "does not return boolean",
		"pg_catalog.repeat":  "does not exist",
		"pg_catalog.texteq":  "",
		`"App".secret`:       "may not be called",
		"pg_catalog.textcat": "does not return boolean",
	} {
		w := newWorld(t, name, Config{})
		w.exec(`create function number(text, text) returns int language sql as 'select 1';
			create function "App".secret(text, text) returns boolean language sql as 'select true';
			revoke all on function "App".secret(text, text) from public`)
		role := "nobody" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "_")
		w.exec(`do $$ begin create role ` + role + ` login; exception when duplicate_object then null; end $$; grant usage on schema "App" to ` + role)
		if name == `"App".secret` {
			conf := w.conn.Config()
			conf.RuntimeParams["role"] = role
			a, err := New(conf, name, Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			w.Authorizer = a
		}
		err := w.Check(t.Context())
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrFunction) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// A function that is made anew is found again.
func TestFunctionMayBeReplaced(t *testing.T) {
	w := newWorld(t, "may", Config{CacheFor: time.Nanosecond})
	make := func(answer string) {
		w.exec("drop function if exists may; create function may(text, text) returns boolean language sql as 'select " + answer + "'")
	}
	if _, err := w.Authorize(t.Context(), sse.Identity{}, "a"); !errors.Is(err, ErrFunction) {
		t.Errorf("without a function: got %v", err)
	}
	make("true")
	w.want("", "a", true)
	make("false")
	w.want("", "a", false)
	w.exec("drop function may")
	if ok, err := w.Authorize(t.Context(), sse.Identity{}, "a"); ok || err == nil {
		t.Errorf("after it was dropped: got %v, %v", ok, err)
	}
}

func TestServerThatIsAwayIsNoFaultOfTheFunction(t *testing.T) {
	conf, err := pgx.ParseConfig("host=127.0.0.1 port=1 sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(conf, "may", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Check(t.Context()); err == nil || errors.Is(err, ErrFunction) {
		t.Errorf("got %v", err)
	}
}

func TestFunctionSaysWhoIsInWhichGroup(t *testing.T) {
	w := newWorld(t, "", Config{Groups: `"App"."groups of"`})
	w.exec(`create table team (user_id text, name text);
		create function "App"."groups of"(user_id text) returns text[] language sql stable as $$
			select case when $1 = 'unknown' then null when $1 = 'raises' then array[(1/(length($1) - 6))::text]
				else array(select t.name from team t where t.user_id = $1 order by 1) end $$;
		insert into team values ('ann', 'a'), ('ann', 'b {c}, "d"'), ('ann', null), ('bob', 'a')`)
	for user, want := range map[string]string{"ann": `["a" "b {c}, \"d\""]`, "bob": `["a"]`, "eve": "[]", "unknown": "[]"} {
		got, err := w.Groups(t.Context(), sse.Identity{UserID: user})
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: %q, %v, want %s", user, got, err, want)
		}
	}
	if got, err := w.Groups(t.Context(), sse.Identity{UserID: "raises"}); err == nil {
		t.Errorf("a function that raises: %q", got)
	}
	w.exec(`insert into team values ('eve', 'c')`) // no answer is kept
	if got, err := w.Groups(t.Context(), sse.Identity{UserID: "eve"}); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	for name, want := range map[string]string{
		`"App"."groups of"`: "", "nothing": "nothing(user_id text) does not exist", "pg_catalog.lower": "does not return text[]",
	} {
		w.Authorizer.groups.call.Store(nil)
		w.Authorizer.groups.name = name
		if err := w.Check(t.Context()); want == "" && err != nil || want != "" && (!errors.Is(err, ErrFunction) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(w.conn.Config(), "", Config{}); err == nil {
		t.Error("no function at all is no error")
	}
}
