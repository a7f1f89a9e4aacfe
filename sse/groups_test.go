package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
)

// members knows who is in which group, as an app's tables do.
type members struct {
	mu    sync.Mutex
	of    map[string][]string
	err   error
	block chan struct{} // answers wait until it is closed; nil: they don't
	asked int
}

func (m *members) groups(ctx context.Context, id Identity) ([]string, error) {
	m.mu.Lock()
	m.asked++
	groups, err, block := slices.Clone(m.of[id.UserID]), m.err, m.block
	m.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return groups, err
}

// set has a user be in groups from now on, by a transaction that commits now.
func (m *members) set(user string, groups ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[user] = groups
}

func (m *members) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *members) questions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// grouped is a world whose users are in groups, alice in red.
func grouped(t *testing.T, set settings) (*world, *members) {
	m := &members{of: map[string][]string{"alice": {"red"}}}
	set.Groups = m.groups
	if set.Authenticate == nil {
		set.Authenticate = who
	}
	return overPipe(t, set), m
}

// of is an event of a group.
func of(group, scope string, tx uint64) bus.ChangeEvent {
	e := change(scope, tx)
	e.Audience = bus.Named(nil, []string{group})
	e.Key = []byte(fmt.Sprint(tx))
	return e
}

func (c *client) wantChange(scope string, tx uint64) {
	c.t.Helper()
	if it := c.nextEvent(); it.data != keyData(scope, tx) {
		c.t.Fatalf("got %v, want change %d of %s", it, tx, scope)
	}
}

func (c *client) wantReset(scope string) {
	c.t.Helper()
	if it := c.nextEvent(); it.data != resetData(scope, ReasonGroups) {
		c.t.Fatalf("got %v, want a reset of %s, since the groups changed", it, scope)
	}
}

func TestStreamHearsOfItsUsersGroups(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		m.set("bob", "blue", "green")
		alice, bob, twin := w.open("scope=a", "Who", "alice"), w.open("scope=a", "Who", "bob"), w.open("scope=a", "Who", "red")
		w.bus.Emit(of("red", "a", 1))
		w.bus.Emit(of("green", "a", 2))
		w.bus.Emit(change("a", 3))
		alice.wantChange("a", 1)
		bob.wantChange("a", 2)
		for _, c := range []*client{alice, bob, twin} {
			if it := c.nextEvent(); it.data != changeData("a") {
				t.Errorf("got %v", it)
			}
		}
	})
}

// What a revoked user could see is not written once it was committed behind the
// revocation, whatever is queued and however the answer takes its time; others wait for
// nobody.
func TestNothingBehindARevocationIsWritten(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		m.set("bob", "red")
		alice, bob := w.open("scope=a&scope=b", "Who", "alice"), w.open("scope=a", "Who", "bob")
		w.bus.Emit(of("red", "a", 1))
		alice.wantChange("a", 1)
		bob.wantChange("a", 1)
		m.mu.Lock()
		m.block = make(chan struct{})
		m.mu.Unlock()
		m.set("alice", "blue")
		w.bus.Regroup("alice")
		w.bus.Emit(of("red", "a", 2))
		w.bus.Emit(of("blue", "a", 3))
		w.bus.Emit(change("b", 4))
		w.bus.Advance(cursor(9))
		bob.wantChange("a", 2)
		time.Sleep(3 * time.Second)
		close(m.block)
		alice.wantReset("a")
		alice.wantReset("b")
		if it := alice.nextEvent(); it.data != changeData("b") {
			t.Fatalf("got %v", it)
		}
		w.bus.Emit(of("red", "a", 5))
		w.bus.Emit(of("blue", "a", 6))
		alice.wantChange("a", 6)
		bob.wantChange("a", 5)
	})
}

// A client that is cut amid the resets comes back with an id of before the regrouping, by
// which it gets them again.
func TestNoIDCoversARegroupingBeforeItsResets(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		for _, query := range []string{"scope=a&scope=b", "scope=a&scope=b&coalesce=100ms"} {
			w, m := grouped(t, settings{})
			c := w.open(query, "Who", "alice")
			w.bus.Emit(change("a", 1))
			w.bus.Advance(cursor(5))
			c.nextEvent()
			if it := c.want(id); it.id != cursor(5) {
				t.Fatalf("got %v", it)
			}
			for tx := uint64(6); tx < 8; tx++ { // they wait, where the stream coalesces
				w.bus.Emit(of("red", fmt.Sprintf("%c", 'a'+tx-6), tx))
				w.bus.Advance(cursor(tx))
				synctest.Wait()
			}
			m.set("alice", "blue")
			w.bus.Regroup("alice")
			w.bus.Emit(of("blue", "b", 8))
			w.bus.Advance(cursor(9))
			resets := 0
			for resets < 2 {
				it, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if it.id == cursor(9) || strings.Contains(query, "coalesce") && it.id != "" && it.id != cursor(5) {
					t.Fatalf("%s: after %d resets got %v", query, resets, it)
				}
				if strings.Contains(it.data, ReasonGroups) {
					resets++
				}
			}
			for it := c.want(id); it.id != cursor(9); it = c.want(id) {
			}
		}
	})
}

// interrupted runs f amid the writing of a stream: it can't write an event of interrupt, and
// logs that.
type interrupted struct {
	slog.Handler
	f func()
}

func (i *interrupted) Handle(_ context.Context, r slog.Record) error {
	if f := i.f; f != nil && strings.HasPrefix(r.Message, "event can't be written") {
		i.f = nil
		f()
	}
	return nil
}

func interrupt(scope string, tx uint64) bus.ChangeEvent {
	e := change(scope, tx)
	e.Key = []byte("no JSON")
	return e
}

// A revocation that comes while a stream is about to write what it has taken.
func TestRevocationAmidABatchHoldsTheRest(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		amid := &interrupted{Handler: slog.NewTextHandler(io.Discard, nil)}
		w, m := grouped(t, settings{Config: Config{Logger: slog.New(amid)}})
		c := w.open("scope=a", "Who", "alice")
		amid.f = func() {
			m.set("alice", "blue")
			w.bus.Regroup("alice")
			w.bus.Emit(of("red", "a", 2))
			w.bus.Advance(cursor(9))
		}
		w.bus.Emit(interrupt("a", 1))
		if it := c.nextEvent(); !strings.Contains(it.data, "could not be written") || it.id == cursor(9) {
			t.Fatalf("got %v", it)
		}
		for it, err := c.next(); it.data != resetData("a", ReasonGroups); it, err = c.next() {
			if err != nil || it.kind == event || it.id == cursor(9) {
				t.Fatalf("got %v, %v before the reset", it, err)
			}
		}
		for it := c.want(id); it.id != cursor(9); it = c.want(id) {
		}
	})
}

// The same with nothing queued behind it.
func TestRevocationAmidABatchKeepsTheID(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		amid := &interrupted{Handler: slog.NewTextHandler(io.Discard, nil)}
		w, m := grouped(t, settings{Config: Config{Logger: slog.New(amid)}})
		c := w.open("scope=a", "Who", "alice")
		amid.f = func() {
			m.set("alice", "blue")
			w.bus.Regroup("alice")
			w.bus.Advance(cursor(9))
		}
		w.bus.Emit(interrupt("a", 1))
		for it, err := c.next(); it.data != resetData("a", ReasonGroups); it, err = c.next() {
			if err != nil || it.id == cursor(9) {
				t.Fatalf("got %v, %v before the reset", it, err)
			}
		}
	})
}

func TestRevocationAmidAReplayEndsIt(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		red := bus.Named(nil, []string{"red"})
		for _, n := range []uint64{4, 2000} { // all of the replay is written at once, or in parts
			amid := &interrupted{Handler: slog.NewTextHandler(io.Discard, nil)}
			var records []*journal.Record
			for tx := range n {
				r := record(tx+2, red, "a")
				if r.Position = cursor(tx + 3); tx == 2 {
					r.Changes[0].Key = []byte("no JSON")
				}
				records = append(records, r)
			}
			w, m := grouped(t, settings{Config: Config{Logger: slog.New(amid), Replay: replay(journal.Replay{
				Records: records, Since: parse(t, cursor(2)), End: parse(t, cursor(9999)),
			})}})
			amid.f = func() { m.set("alice", "blue"); w.bus.Regroup("alice") }
			c := w.open("scope=a&since="+cursor(2), "Who", "alice")
			for {
				it, err := c.next()
				if err != nil || it.kind == event && it.data != resetData("a", ReasonGroups) || it.id != "" && it.id != cursor(2) {
					t.Fatalf("got %v, %v before the reset", it, err)
				}
				if it.kind == event {
					break
				}
			}
			w.bus.Emit(of("blue", "a", 10_000))
			c.wantChange("a", 10_000)
		}
	})
}

// An answer that was asked for before a regrouping says nothing of it.
func TestAnswerOfBeforeARegroupingIsNotTaken(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		c := w.open("scope=a", "Who", "alice")
		m.mu.Lock()
		block := make(chan struct{})
		m.block = block
		m.mu.Unlock()
		m.set("alice", "red", "blue")
		w.bus.Regroup("alice")
		synctest.Wait() // it is asked
		m.set("alice", "green")
		w.bus.Regroup("alice")
		w.bus.Emit(of("red", "a", 1))
		m.mu.Lock()
		m.block = nil
		m.mu.Unlock()
		close(block)
		c.wantReset("a")
		c.wantReset("a")
		w.bus.Emit(of("red", "a", 2))
		w.bus.Emit(of("green", "a", 3))
		c.wantChange("a", 3)
	})
}

func TestRegroupingIsToldThoughNothingHappens(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		c := w.open("scope=a", "Who", "alice")
		synctest.Wait()
		begin := time.Now()
		m.set("alice")
		w.bus.Regroup("alice")
		c.wantReset("a")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Where nobody says that the user was regrouped, as each minute while a table of members is
// amiss, groups that come out the same are none.
func TestSameGroupsAreNoReset(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		m.set("alice", "red", "blue")
		c := w.open("scope=a", "Who", "alice")
		for tx := uint64(1); tx < 50; tx++ {
			m.set("alice", "blue", "red", "blue")
			w.bus.SetStale()
			w.bus.Emit(of("red", "a", tx))
			c.wantChange("a", tx)
		}
	})
}

// The streams of a user share one question for each regrouping, and the user's others
// wait for it; what is about others asks nothing.
func TestOneQuestionIsAskedOfAUserAndARegrouping(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		var clients []*client
		for range 10 {
			clients = append(clients, w.open("scope=a", "Who", "alice"))
		}
		bob := w.open("scope=a", "Who", "bob")
		time.Sleep(groupsHold)
		before := m.questions()
		for i := range 5 {
			m.set("alice", fmt.Sprint(i))
			w.bus.Regroup("alice")
			for _, c := range clients {
				c.wantReset("a")
			}
		}
		w.bus.Emit(change("a", 1))
		bob.nextEvent()
		if got := m.questions() - before; got != 5 {
			t.Errorf("%d questions for 5 regroupings", got)
		}
	})
}

// Of a regrouping that nobody tells, a stream learns when it asks again.
func TestGroupsAreAskedForAgain(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		c := w.open("scope=a", "Who", "alice")
		begin := time.Now()
		m.set("alice")
		c.wantReset("a")
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// While nobody can tell, only signs of life come, and in the end the stream is cut.
func TestStreamIsHeldWhileGroupsCantBeTold(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		c, other := w.open("scope=a", "Who", "alice"), w.open("scope=a", "Who", "bob")
		m.fail(errors.New("the database is away"))
		begin := time.Now()
		w.bus.Regroup("alice")
		w.bus.Emit(change("a", 1))
		if other.nextEvent(); time.Since(begin) > time.Second {
			t.Error("another user waited, too")
		}
		c.wantCut()
		if took := time.Since(begin); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("the stream ended after %v", took)
		}
		m.fail(nil)
		back := w.open("scope=a", "Who", "alice")
		w.bus.Emit(of("red", "a", 2))
		back.wantChange("a", 2)
	})
}

// A client that was away while its user was regrouped gets resets in place of a replay:
// what came into sight at once was no change of a row.
func TestResumePastARegroupingResets(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		regroup := func(tx uint64, r journal.Regroup) *journal.Record { return &journal.Record{Tx: tx, Regroup: &r} }
		red := bus.Named(nil, []string{"red"})
		for name, test := range map[string]struct {
			record *journal.Record
			reset  bool
		}{
			"alice":          {regroup(12, journal.Regroup{Users: []string{"alice"}}), true},
			"all":            {regroup(12, journal.Regroup{All: true}), true},
			"bob":            {regroup(12, journal.Regroup{Users: []string{"bob"}}), false},
			"alice, before":  {regroup(9, journal.Regroup{Users: []string{"alice"}}), false},
			"none":           {record(12, bus.Only("bob"), "a"), false},
			"without a func": {regroup(12, journal.Regroup{All: true}), false},
		} {
			config := Config{Replay: replay(journal.Replay{
				Since: parse(t, cursor(10)), End: parse(t, cursor(20)),
				Records: []*journal.Record{record(11, red, "a"), test.record, record(13, bus.Named(nil, []string{"blue"}), "a")},
			})}
			var w *world
			if name == "without a func" {
				config.Authenticate = func(*http.Request) (Identity, error) { return Identity{UserID: "alice", Groups: []string{"red"}}, nil }
				w = overPipe(t, settings{Config: config})
			} else {
				w, _ = grouped(t, settings{Config: config})
			}
			c := w.open("scope=a&since="+cursor(10), "Who", "alice")
			if test.reset {
				c.wantReset("a")
			} else {
				c.wantChange("a", 11)
			}
			w.bus.Emit(of("red", "a", 30))
			c.wantChange("a", 30)
		}
	})
}

// A replay that is ahead of the bus may hold what was committed behind a regrouping of
// which nobody has told yet.
func TestGroupsAreAskedForBehindAReplayThatIsAhead(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var m *members
		w, m := grouped(t, settings{Config: Config{Replay: func(context.Context, journal.Cursor) (*journal.Replay, error) {
			m.set("alice", "blue")
			return &journal.Replay{Since: parse(t, cursor(10)), End: parse(t, cursor(20)), Ahead: true, Records: []*journal.Record{
				record(11, bus.Named(nil, []string{"red"}), "a"), record(12, bus.Named(nil, []string{"blue"}), "a"),
			}}, nil
		}}})
		c := w.open("scope=a&since="+cursor(10), "Who", "alice")
		for it := c.nextEvent(); it.data != resetData("a", ReasonGroups); it = c.nextEvent() {
			if it.data == keyData("a", 11) {
				t.Fatalf("got %v", it)
			}
		}
	})
}

// So may one of a reading that the bus is about to tell: a page's cursor covers the
// regrouping, an answer of a moment ago doesn't.
func TestGroupsAreAskedForBehindAReplayWithTheirRegrouping(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var m *members
		w, m := grouped(t, settings{Config: Config{Replay: func(context.Context, journal.Cursor) (*journal.Replay, error) {
			m.set("alice", "blue")
			return &journal.Replay{Since: parse(t, cursor(10)), End: parse(t, cursor(20)), Records: []*journal.Record{
				{Tx: 9, Regroup: &journal.Regroup{Users: []string{"alice"}}},
				record(11, bus.Named(nil, []string{"red"}), "a"), record(12, bus.Named(nil, []string{"blue"}), "a"),
			}}, nil
		}}})
		c := w.open("scope=a&since="+cursor(10), "Who", "alice")
		for it := c.nextEvent(); it.data != resetData("a", ReasonGroups); it = c.nextEvent() {
			if it.data == keyData("a", 11) {
				t.Fatalf("got %v", it)
			}
		}
	})
}

// The groups change while a long replay is written.
func TestReplayStopsWhenTheGroupsChange(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var records []*journal.Record
		for tx := range uint64(9000) {
			records = append(records, record(tx+2, bus.Named(nil, []string{"red"}), "a"))
		}
		w, m := grouped(t, settings{Config: Config{Replay: replay(journal.Replay{Records: records, Since: parse(t, cursor(2)), End: parse(t, cursor(9999))})}})
		c := w.open("scope=a&since="+cursor(2), "Who", "alice")
		m.set("alice", "blue")
		w.bus.Regroup("alice")
		n := 0
		for it := c.nextEvent(); it.data != resetData("a", ReasonGroups); it = c.nextEvent() {
			n++
		}
		if n > 5000 {
			t.Errorf("%d of 9000 changes came behind the revocation", n)
		}
		w.bus.Emit(of("blue", "a", 10_000))
		c.wantChange("a", 10_000)
	})
}

func TestGroupsThatCantBeHadRefuseAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := grouped(t, settings{})
		want := func(status int, kind string) {
			t.Helper()
			resp := w.get("/events?scope=a", "Who", "alice")
			if body := w.body(resp); resp.StatusCode != status || !strings.Contains(body, `"urn:pgbell:problem:`+kind+`"`) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
		m.fail(errors.New("secret"))
		want(503, "groups-unavailable")
		m.fail(nil)
		var many []string
		for i := range MaxGroups + 1 {
			many = append(many, fmt.Sprint(i))
		}
		m.set("alice", many...)
		want(403, "too-many-groups")
		m.set("alice", many[1:]...)
		c := w.open("scope=a", "Who", "alice")
		m.set("alice", many...)
		w.bus.Regroup("alice")
		c.wantClose("no longer allowed")
	})
}

func TestGroupsInAHeaderAreBelievedOnlyFromTrustedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		authenticate := HeaderGroups("Who", "Groups", trusted)
		ask := func(addr string, header ...string) (Identity, error) {
			r := &http.Request{Header: http.Header{}, RemoteAddr: addr + ":1"}
			for i := 0; i < len(header); i += 2 {
				r.Header.Add(header[i], header[i+1])
			}
			return authenticate(r)
		}
		for _, test := range []struct {
			addr   string
			header []string
			user   string
			groups []string
		}{
			{"10.1.1.1", []string{"Who", "alice", "Groups", "red, blue,, team 7 "}, "alice", []string{"red", "blue", "team 7"}},
			{"10.1.1.1", []string{"Who", "alice"}, "alice", nil},
			{"10.1.1.1", []string{"Groups", "red"}, "", nil},
			{"192.0.2.1", []string{"Who", "alice", "Groups", "red"}, "", nil},
		} {
			id, err := ask(test.addr, test.header...)
			if err != nil || id.UserID != test.user || !slices.Equal(id.Groups, test.groups) {
				t.Errorf("%v: %+v, %v", test, id, err)
			}
		}
		if id, err := ask("10.1.1.1", "Who", "alice", "Groups", "red", "Groups", "blue"); err == nil {
			t.Errorf("two headers: %+v", id)
		}
	})
}

// Who is authenticated with groups and asked about by nobody keeps them.
func TestGroupsOfAnIdentityLastAsLongAsTheStream(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var asked []string
		w := overPipe(t, settings{Config: Config{
			Authenticate: func(r *http.Request) (Identity, error) {
				return Identity{UserID: r.Header.Get("Who"), Groups: []string{"red", "blue"}}, nil
			},
			Authorize: func(_ context.Context, id Identity, _ string) (bool, error) {
				asked = append(asked, strings.Join(id.Groups, " "))
				return true, nil
			},
		}})
		c, nobody := w.open("scope=a", "Who", "alice"), w.open("scope=a")
		w.bus.Regroup("alice")
		w.bus.Emit(of("red", "a", 1))
		w.bus.Emit(change("a", 2))
		c.wantChange("a", 1)
		if it := nobody.nextEvent(); it.data != changeData("a") {
			t.Errorf("an anonymous client got %v", it)
		}
		if want := []string{"red blue", "blue red", "", ""}; !slices.Equal(asked, want) {
			t.Errorf("Authorize was asked with %q, want %q", asked, want)
		}
	})
}
