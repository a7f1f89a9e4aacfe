package listener

import "testing"

func TestCursorFromTheFarFutureIsReset(t *testing.T) {
	w := start(t, example.Database(t), options{})
	c := w.cursor()
	near, distant := c, c
	near.Xmin, near.Xmax = c.Xmin+100, c.Xmax+100 // of a page that was made a moment ago
	distant.Xmin, distant.Xmax = c.Xmin+1<<40, c.Xmax+1<<40
	if p, err := w.l.Replay(t.Context(), near); err != nil || p.Reset != "" {
		t.Errorf("just ahead: %+v, %v", p, err)
	}
	if p, err := w.l.Replay(t.Context(), distant); err != nil || p.Reset == "" {
		t.Errorf("far ahead: %+v, %v, want a reset", p, err)
	}
}
