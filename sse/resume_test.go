package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/journal/scope"
)

// record is one that inserts a row of scope, with tx for its key.
func record(tx uint64, audience bus.Audience, scopes ...string) *journal.Record {
	return &journal.Record{LSN: uint64(tx), Tx: tx, Table: "public.t", Op: bus.OpInsert, Changes: []journal.Change{{
		Side: journal.Side{Scopes: scopes, Audience: audience, Key: json.RawMessage(fmt.Sprint(tx))},
	}}}
}

// emit puts what a record tells onto the bus.
func (w *world) emit(r *journal.Record) {
	for _, e := range r.Events() {
		w.bus.Emit(e)
	}
}

func keyData(scope string, tx uint64) string {
	return fmt.Sprintf(`{"scope":%q,"op":"insert","table":"public.t","key":%d}`, scope, tx)
}

func parse(t *testing.T, text string) journal.Cursor {
	t.Helper()
	c, err := journal.ParseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replay is a ReplayFunc that always answers so.
func replay(r journal.Replay) ReplayFunc {
	return func(context.Context, journal.Cursor) (*journal.Replay, error) { return &r, nil }
}

func TestResumeJoinsReplayAndLiveWithoutGapOrRepeat(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		everyone := bus.Audience{}
		var w *world
		w = overPipe(t, settings{Config: Config{Replay: func(_ context.Context, since journal.Cursor) (*journal.Replay, error) {
			if since.String() != cursor(10) {
				t.Errorf("asked for %v", since)
			}
			// 12 is in the replay and in the queue, as is 10: its listener is late. 13 is live only.
			for _, tx := range []uint64{9, 12, 13} {
				w.emit(record(tx, everyone, "a"))
			}
			return &journal.Replay{End: parse(t, cursor(13)), Records: []*journal.Record{
				record(10, everyone, "a"), record(11, everyone, "other"), record(12, everyone, "a"),
			}}, nil
		}}})
		w.bus.Advance(cursor(9))
		c := w.open("scope=a", "Last-Event-ID", cursor(10))
		if c.lastEventID != cursor(10) {
			t.Errorf("ready under %s, want %s", c.lastEventID, cursor(10))
		}
		c.wantEvent(cursor(10), keyData("a", 10))
		c.wantEvent(cursor(10), keyData("a", 12))
		if got := c.want(id); got.id != cursor(13) {
			t.Errorf("after the replay: got %v, want %s", got, cursor(13))
		}
		c.wantEvent(cursor(13), keyData("a", 13)) // stamped 9, which would have all come again
		w.bus.Advance(cursor(14))
		if got := c.want(id); got.id != cursor(14) {
			t.Errorf("got %v, want %s", got, cursor(14))
		}
	})
}

// What a batch emitted before the stream was registered is not covered by the id
// of its ready frame.
func TestStreamThatBeginsInTheMiddleOfABatchGetsAllOfIt(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		everyone := bus.Audience{}
		batch := []*journal.Record{record(1, everyone, "a"), record(2, everyone, "a"), record(3, everyone, "a")}
		volatile, err := scope.ParseAll([]string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		w := overPipe(t, settings{Config: Config{Replay: replay(journal.Replay{
			Records: batch[:2], End: parse(t, cursor(3)), Volatile: volatile, // 3 is of the next batch
		})}})
		w.emit(batch[0])
		c := w.open("scope=a")
		if c.lastEventID != cursor(1) {
			t.Errorf("ready under %s, want %s", c.lastEventID, cursor(1))
		}
		w.emit(batch[1])
		w.bus.Advance(cursor(3))
		w.emit(batch[2])
		c.wantEvent(cursor(1), keyData("a", 1))
		c.wantEvent(cursor(1), keyData("a", 2))
		if got := c.want(id); got.id != cursor(3) {
			t.Errorf("after the batch: got %v, want %s", got, cursor(3))
		}
		c.wantEvent(cursor(3), keyData("a", 3)) // and no reset: it was not away
	})
}

// A polyfill of EventSource adds its last id to the address it had at first.
func TestLastIDInTheAddressResumesAsTheHeaderDoes(t *testing.T) {
	for _, test := range []struct {
		query, header string
		want          uint64
	}{
		{"lastEventId=" + cursor(8), "", 8},
		{"Last-Event-ID=" + cursor(8), "", 8},
		{"since=" + cursor(6) + "&lastEventId=" + cursor(8), "", 8},
		{"since=" + cursor(6) + "&Last-Event-ID=" + cursor(8) + "&lastEventId=" + cursor(7), "", 8},
		{"lastEventId=" + cursor(7) + "&since=" + cursor(6), cursor(8), 8},
		{"lastEventId=&since=" + cursor(6), "", 6}, // it has none yet
		{"Last-Event-ID=&lastEventId=", "", 9},     // from now on
	} {
		synctest.Test(t, func(t *testing.T) {
			w := overPipe(t, settings{Config: Config{Replay: replay(journal.Replay{})}})
			w.bus.Advance(cursor(9))
			var header []string
			if test.header != "" {
				header = []string{"Last-Event-ID", test.header}
			}
			if c := w.open("scope=a&"+test.query, header...); c.lastEventID != cursor(test.want) {
				t.Errorf("%s, header %q: resumes at %s, want %s", test.query, test.header, c.lastEventID, cursor(test.want))
			}
		})
	}
}

// A page's own query may have seen more than the listener has.
func TestSinceAheadOfTheListenerIsKept(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{Replay: replay(journal.Replay{End: parse(t, cursor(5))})}})
		w.bus.Advance(cursor(5))
		c := w.open("scope=a&since=" + cursor(8))
		for tx := uint64(5); tx < 10; tx++ {
			w.emit(record(tx, bus.Audience{}, "a"))
		}
		c.wantEvent(cursor(8), keyData("a", 8))
		c.wantEvent(cursor(8), keyData("a", 9))
		w.bus.Advance(cursor(10))
		if got := c.want(id); got.id != cursor(10) {
			t.Errorf("got %v", got)
		}
	})
}

func TestReplayKeepsToTheAudience(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		r := journal.Replay{End: parse(t, cursor(9)), Records: []*journal.Record{
			record(1, bus.Only("alice"), "a"), record(2, bus.Only(), "a"), record(3, bus.Only("bob"), "a"), record(4, bus.Audience{}, "a"),
		}}
		w := overTCP(t, settings{Config: Config{Replay: replay(r), Authenticate: func(r *http.Request) (Identity, error) {
			return Identity{UserID: r.Header.Get("Who")}, nil
		}}})
		for who, want := range map[string][]uint64{"": {4}, "alice": {1, 4}, "bob": {3, 4}, "eve": {4}} {
			c := w.open("scope=a&since="+cursor(1), "Who", who)
			for _, tx := range want {
				c.wantEvent(cursor(1), keyData("a", tx))
			}
			if got := c.want(id); got.id != cursor(9) {
				t.Errorf("%q: got %v", who, got)
			}
		}
	})
}

func TestReplayLeavesOutTheOriginToo(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		mine := record(1, bus.Audience{}, "a")
		mine.Origin = "me"
		w := overTCP(t, settings{Config: Config{Replay: replay(journal.Replay{
			End: parse(t, cursor(9)), Records: []*journal.Record{mine, record(2, bus.Audience{}, "a")},
		})}})
		w.open("scope=a&origin=me&since="+cursor(1)).wantEvent(cursor(1), keyData("a", 2))
	})
}

func TestResumeThatCantBeAnsweredResetsEachScope(t *testing.T) {
	many := journal.Replay{End: parse(t, cursor(9))}
	for tx := uint64(1); tx < 5; tx++ {
		many.Records = append(many.Records, record(tx, bus.Audience{}, "a"))
	}
	volatile, err := scope.Parse("b:{id}")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		replay ReplayFunc
		reason string
		scopes []string
		end    string
	}{
		{"no replay", nil, "this server keeps no history to resume from", []string{"a", "b:1"}, cursor(6)},
		{"reset", replay(journal.Replay{Reset: "the journal reaches back to 10:00"}), "the journal reaches back to 10:00", []string{"a", "b:1"}, cursor(6)},
		{"error", func(context.Context, journal.Cursor) (*journal.Replay, error) {
			return nil, errors.New("password is 42")
		},
			"the history could not be read", []string{"a", "b:1"}, cursor(6)},
		{"no answer", func(ctx context.Context, _ journal.Cursor) (*journal.Replay, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
			"the history could not be read", []string{"a", "b:1"}, cursor(6)},
		{"too long", replay(many), "replay too long", []string{"a", "b:1"}, cursor(9)},
		{"not durable", replay(journal.Replay{End: parse(t, cursor(9)), Volatile: []scope.Template{volatile, volatile}}),
			"changes of a feed that is not durable can't be replayed", []string{"b:1"}, cursor(9)},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachWireInBubble(t, func(t *testing.T) {
				w := overPipe(t, settings{Config: Config{Replay: test.replay, MaxReplay: 3}})
				w.bus.Advance(cursor(6))
				c := w.open("scope=a&scope=b:1&since=" + cursor(2))
				for _, scope := range test.scopes {
					c.wantEvent(cursor(2), resetData(scope, test.reason))
				}
				if got := c.want(id); got.id != test.end {
					t.Errorf("got %v, want %s once all resets are written", got, test.end)
				}
				w.bus.Emit(change("a", 20))
				if got := c.nextEvent(); got.data != changeData("a") {
					t.Errorf("afterwards got %v", got)
				}
				want := Stats{Resets: 1}
				if len(test.scopes) == 1 {
					want = Stats{Replays: 1}
				}
				if got := w.h.Stats(); got.Replays != want.Replays || got.Resets != want.Resets {
					t.Errorf("counted %d replays and %d resets, want %d and %d", got.Replays, got.Resets, want.Replays, want.Resets)
				}
			})
		})
	}
}

func TestReplayOfJustTheLimitIsReplayed(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		r := journal.Replay{End: parse(t, cursor(9))}
		for tx := uint64(1); tx < 4; tx++ {
			r.Records = append(r.Records, record(tx, bus.Audience{}, "a"))
		}
		w := overTCP(t, settings{Config: Config{Replay: replay(r), MaxReplay: 3}})
		w.open("scope=a") // which came for the first time
		c := w.open("scope=a&since=" + cursor(1))
		for tx := uint64(1); tx < 4; tx++ {
			c.wantEvent(cursor(1), keyData("a", tx))
		}
		if got := w.h.Stats(); got.Replays != 1 || got.Resets != 0 {
			t.Errorf("counted %d replays and %d resets, want 1 and 0", got.Replays, got.Resets)
		}
	})
}

func TestLongReplayIsWrittenInParts(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		r := journal.Replay{End: parse(t, cursor(9000))}
		for tx := uint64(1); tx < 9000; tx++ {
			r.Records = append(r.Records, record(tx, bus.Audience{}, "a"))
		}
		w := overTCP(t, settings{Config: Config{Replay: replay(r)}})
		c := w.open("scope=a&since=" + cursor(1))
		for tx := uint64(1); tx < 9000; tx++ {
			c.wantEvent(cursor(1), keyData("a", tx)) // none claims more than was written
		}
		if got := c.want(id); got.id != cursor(9000) {
			t.Errorf("got %v", got)
		}
	})
}

// Who is cut amid a replay goes on from there.
func TestIDsMoveWithinAReplay(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var records []*journal.Record
		for tx := uint64(10); tx < 20; tx++ {
			records = append(records, record(tx, bus.Audience{}, "a"))
		}
		records = append(records, record(12, bus.Audience{}, "a")) // there is more of 12
		journal.SetPositions(records, parse(t, cursor(20)))
		w := overPipe(t, settings{Config: Config{Replay: replay(journal.Replay{Since: parse(t, cursor(11)), Records: records, End: parse(t, cursor(20))})}})
		c := w.open("scope=a&since=" + cursor(11))
		for tx := uint64(11); tx < 20; tx++ {
			open := []string{}
			for x := min(tx, 12); x < 20; x++ {
				if x >= tx || x == 12 {
					open = append(open, fmt.Sprint(x))
				}
			}
			c.wantEvent(fmt.Sprintf("ab-%s:20:%s", open[0], strings.Join(open, ",")), keyData("a", tx))
		}
		c.wantEvent("ab-12:20:12", keyData("a", 12))
		if got := c.want(id); got.id != cursor(20) {
			t.Errorf("after the replay: got %v, want %s", got, cursor(20))
		}
	})
}

// After a failover, transaction ids begin anew, perhaps below those replayed.
func TestNothingIsSkippedAfterTheServerWasReplaced(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		for _, order := range []string{"advance, reset", "reset, advance", "advance"} {
			w := overPipe(t, settings{Config: Config{Replay: replay(journal.Replay{End: parse(t, cursor(100))})}})
			c := w.open("scope=a&since=" + cursor(90))
			c.want(id)
			const other = "cd-50:50:"
			for step := range strings.SplitSeq(order, ", ") {
				if step == "advance" {
					w.bus.Advance(other)
				} else {
					w.bus.Reset(nil, bus.ChangeEvent{Reason: "another server"})
				}
			}
			w.emit(record(60, bus.Audience{}, "a"))
			if strings.Contains(order, "reset") {
				if got := c.nextEvent(); got.data != resetData("a", "another server") {
					t.Errorf("got %v, want a reset", got)
				}
			}
			if got := c.nextEvent(); got.data != keyData("a", 60) {
				t.Errorf("got %v, want 60", got)
			}
			w.bus.Advance("cd-61:61:")
			if got := c.want(id); got.id != "cd-61:61:" {
				t.Errorf("got %v", got)
			}
		}
	})
}

// A stream may have subscribed before a failover that the client's cursor and the
// replay are from after.
func TestReplayFromAfterAFailoverIsNotRepeated(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		after := record(60, bus.Audience{}, "a")
		w := overPipe(t, settings{Config: Config{
			Ready: func() error {
				if down.Load() {
					return errors.New("not connected")
				}
				return nil
			},
			Replay: replay(journal.Replay{Records: []*journal.Record{after}, End: parse(t, "cd-61:61:")}),
		}})
		c := w.dial("scope=a&since=cd-55:55:")
		c.want(retry)
		w.bus.Reset(nil, bus.ChangeEvent{Reason: "another server"})
		w.bus.Advance("cd-50:50:")
		w.emit(after)
		w.bus.Advance("cd-61:61:")
		w.emit(record(62, bus.Audience{}, "a"))
		down.Store(false)
		c.wantEvent("cd-55:55:", `{"cursor":"cd-55:55:","scopes":["a"],"user":null}`)
		c.wantEvent("cd-55:55:", keyData("a", 60))
		c.wantEvent("cd-61:61:", resetData("a", "another server"))
		c.wantEvent("cd-61:61:", keyData("a", 62))
	})
}

func TestUserClosedWhileReplayingGetsNoneOfIt(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		var w *world
		w = overPipe(t, settings{Config: Config{
			Authenticate: func(*http.Request) (Identity, error) { return Identity{UserID: "alice"}, nil },
			Replay: func(ctx context.Context, _ journal.Cursor) (*journal.Replay, error) {
				w.bus.CloseUser("alice")
				return &journal.Replay{End: parse(t, cursor(9)), Records: []*journal.Record{record(5, bus.Only("alice"), "a")}}, nil
			},
		}})
		c := w.open("scope=a&since=" + cursor(1))
		c.wantClose("disconnected")
		if c.lastEventID != cursor(1) {
			t.Errorf("the last id is %s", c.lastEventID)
		}
	})
}

func TestReplayIsGivenUpWhenTheClientLeaves(t *testing.T) {
	eachWireInBubble(t, func(t *testing.T) {
		w := overPipe(t, settings{Config: Config{
			Replay: func(ctx context.Context, _ journal.Cursor) (*journal.Replay, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			Logger: warnings(func(msg string) { t.Errorf("warned: %s", msg) }).logger(),
		}})
		begin := time.Now()
		c := w.open("scope=a&since=" + cursor(1))
		synctest.Wait() // it replays
		c.resp.Body.Close()
		synctest.Wait()
		if got := w.h.Stats().Streams; got != 0 || time.Since(begin) > 0 {
			t.Errorf("%d streams open after %v", got, time.Since(begin))
		}
	})
}
