package faults

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// tell returns a history of three changes, and ann, who was told of all that she may
// see.
func tell() (*history, *subscription) {
	t0 := time.Now()
	at := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }
	h := newHistory(nil)
	for n := 1; n <= 3; n++ {
		o := h.begin()
		h.want(o, want{written("notes", o.id, 7), "notes:1", nil}, want{written("tasks", o.id, 7), "tasks", []string{"bob"}})
		h.end([]*op{o}, answered, at(10*n), at(10*n+2))
	}
	h.settle([]entry{{1, 100, "ab"}, {2, 101, "ab"}, {3, 102, "ab"}})
	s := &subscription{
		name: "ann", user: "ann", scopes: []string{"notes:1", "tasks"},
		startedAt: at(5), start: cursor{incarnation: "ab", xmax: 100},
	}
	for n := 1; n <= 3; n++ {
		s.frames = append(s.frames, frame{at: at(10*n + 3), conn: 1, scope: "notes:1",
			ident: written("notes", int64(n), 7), row: "notes/7", version: int64(n)})
	}
	return h, s
}

// Whatever is wrong, the checker says so. Each case changes one thing of a story
// without a fault.
func TestCheckerFindsEachKindOfFault(t *testing.T) {
	t.Parallel()
	reset := func(s *subscription, i int, after time.Duration) frame {
		return frame{at: s.frames[i].at.Add(after), conn: 1, scope: "notes:1", reset: true, reason: "x"}
	}
	for _, test := range []struct {
		name string
		do   func(h *history, s *subscription)
		want string // "" is none
	}{
		{"nothing", func(*history, *subscription) {}, ""},
		{"a frame is withheld", func(_ *history, s *subscription) { s.frames = slices.Delete(s.frames, 1, 2) }, "LOST"},
		{"the last frame is withheld", func(_ *history, s *subscription) { s.frames = s.frames[:2] }, "LOST"},
		{"a reset takes a frame's place", func(_ *history, s *subscription) { s.frames[1] = reset(s, 1, 0) }, ""},
		{"a reset of another scope does", func(_ *history, s *subscription) {
			s.frames[1] = reset(s, 1, 0)
			s.frames[1].scope = "tasks"
		}, "LOST"},
		{"a reset came before the commit", func(_ *history, s *subscription) { s.frames[1] = reset(s, 1, -10*time.Millisecond) }, "LOST"},
		{"the page had it", func(_ *history, s *subscription) {
			s.page = map[int64]bool{1: true}
			s.frames = s.frames[1:]
		}, ""},
		{"the page did not have it", func(_ *history, s *subscription) {
			s.page = map[int64]bool{2: true}
			s.frames = s.frames[1:]
		}, "LOST"},
		{"ready covers what is committed later", func(_ *history, s *subscription) {
			s.start.xmax = 102
			s.frames = s.frames[1:]
		}, "LOST"},
		{"somebody else's event", func(_ *history, s *subscription) {
			s.frames = append(s.frames, frame{at: time.Now(), conn: 1, scope: "tasks", ident: written("tasks", 1, 7)})
		}, "LEAK"},
		{"a scope that was not asked for", func(_ *history, s *subscription) { s.scopes = []string{"tasks"} }, "LEAK"},
		{"an event of nothing", func(_ *history, s *subscription) { s.frames[1].ident = written("notes", 9, 7) }, "UNKNOWN"},
		{"an event of what was rolled back", func(h *history, _ *subscription) {
			h.ops[1].fate, h.ops[1].committed = rolledBack, false
		}, "UNTRUE"},
		{"an event of what a crash undid", func(h *history, _ *subscription) { h.ops[1].committed = false }, "STALE"},
		{"the same with a reset after it", func(h *history, s *subscription) {
			h.ops[1].committed = false
			s.frames = append(s.frames, reset(s, 2, 1))
		}, ""},
		{"versions out of order", func(_ *history, s *subscription) { s.frames[1].version = 4 }, "ORDER"},
		{"a truncate that nobody tells", func(h *history, _ *subscription) {
			h.want(h.ops[1], want{"", "notes:1", nil})
		}, "LOST"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, s := tell()
			test.do(h, s)
			wrong := check(h, []*subscription{s}).wrong
			if found := strings.Join(wrong, "\n"); !strings.Contains(found, test.want) || (found == "") != (test.want == "") {
				t.Errorf("got %q, want %q", found, test.want)
			}
		})
	}
}

// The checks of single frames: what is wrong in itself.
func TestFramesThatTellTooMuch(t *testing.T) {
	t.Parallel()
	for data, wrong := range map[string]bool{
		`{"scope":"a","op":"update","table":"public.tasks","key":{"id":1},"moved":"out"}`:                 false,
		`{"scope":"a","op":"update","table":"public.tasks","key":{"id":1},"moved":"out","data":{"op":1}}`: true,
		`{"scope":"a","op":"reset","reason":"why"}`:                                                       false,
		`{"scope":"a","op":"reset"}`:                                                                      true,
		`{"scope":"a","op":"reset","reason":"why","key":{"id":1}}`:                                        true,
		`{"scope":"b","op":"reset","reason":"why"}`:                                                       true,
		`{"scope":"a","op":"insert","table":"public.tasks"}`:                                              true,
		`{"scope":"a"`: true,
	} {
		if f := readFrame(block{"a", data}); (f.flaw != "") != wrong {
			t.Errorf("%s: flaw %q, want one: %v", data, f.flaw, wrong)
		}
	}
}

// A run for real, whose record is then falsified.
func TestCheckerFindsAWithheldFrameAndAWrongReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config{})
	if w.run(func(ctx context.Context) { w.work(ctx, 200) }); t.Failed() {
		return
	}
	withheld, unnoticed, misled := 0, 0, 0
	for _, s := range w.subs {
		kept := s.frames
		for i := len(kept) - 1; i >= 0 && !kept[i].reset; i -= 7 {
			f := kept[i]
			s.frames = slices.DeleteFunc(slices.Clone(kept), func(g frame) bool { return g.ident == f.ident && g.scope == f.scope })
			if check(w.history, []*subscription{s}).wrong == nil && !laterReset(kept[i:], f.scope) {
				t.Logf("%s: nobody missed %s at %s", s.name, f.ident, f.scope)
				unnoticed++
			}
			withheld++
		}
		s.frames = kept
		for _, f := range kept {
			if _, at := w.history.wanted(place{f.ident, f.scope}); f.reset || at.readers == nil {
				continue
			}
			stranger := &subscription{name: "stranger", user: "eve", scopes: s.scopes, frames: []frame{f}}
			if check(w.history, []*subscription{stranger}).wrong == nil {
				t.Errorf("eve may see %s at %s", f.ident, f.scope)
			}
			misled++
		}
	}
	t.Logf("%d withheld, %d for the wrong reader", withheld, misled)
	// At the edges of a connection a change may be told by what came before it.
	if unnoticed*20 > withheld {
		t.Errorf("%d of %d withheld frames were not missed", unnoticed, withheld)
	}
	if withheld == 0 || misled == 0 {
		t.Error("nothing was falsified")
	}
}

func laterReset(frames []frame, scope string) bool {
	return slices.ContainsFunc(frames, func(f frame) bool { return f.reset && f.scope == scope })
}
