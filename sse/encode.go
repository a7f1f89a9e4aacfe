package sse

import (
	"bytes"

	"github.com/pgbell/pgbell/bus"
)

// Frame returns e's frame as a stream would send it, for tools that show what one
// looks like. An empty id is left out. It fails if e's Key or Data is not JSON.
func Frame(id string, e bus.ChangeEvent) (string, error) {
	b := takeFrames()
	defer b.free()
	if err := b.event(id, &e, 1); err != nil {
		return "", err
	}
	return b.buf.String(), nil
}

// encoded is an event's frame, made once for all streams.
type encoded struct {
	frame []byte // under the event's cursor
	id    string // that cursor
	at    span   // of the id line in frame
}

// span is what lies between two offsets.
type span struct{ from, to int }

// frame returns the frame of d, to be added to b.
func (h *Handler) frame(b *frames, d *bus.Delivery) *encoded {
	if b.roomy {
		return d.Memo(h.encode).(*encoded)
	}
	return d.Memo(h.encodeAside).(*encoded)
}

// encodeShared encodes e, or a reset in place of what can't be.
func (h *Handler) encodeShared(e *bus.ChangeEvent) *encoded {
	b := takeFrames()
	defer b.free()
	h.addEvent(b, e.Cursor, e, 1)
	return &encoded{bytes.Clone(b.buf.Bytes()), e.Cursor, b.lastID}
}

// add adds f to b under id. Most streams have the cursor for the id, and often
// nothing else to write.
func (f *encoded) add(b *frames, id string) {
	switch {
	case id != f.id, b.mark != "":
		b.join()
		b.buf.Write(f.frame[:f.at.from])
		b.idLine(id)
		b.buf.Write(f.frame[f.at.to:])
	case b.empty():
		b.alone = f.frame
	default:
		b.join()
		b.buf.Write(f.frame)
	}
	b.events++
}

// addEvent adds e, which stands for so many events, or a reset if e can't be written.
func (h *Handler) addEvent(b *frames, id string, e *bus.ChangeEvent, stands int) {
	err := b.event(id, e, stands)
	if err == nil {
		return
	}
	h.log.Error("event can't be written, a reset takes its place", "scope", e.Scope, "table", e.Table, "err", err)
	reset := bus.ChangeEvent{Scope: e.Scope, Op: bus.OpReset, Table: e.Table, Reason: "the event could not be written", At: e.At}
	if err := b.event(id, &reset, stands); err != nil { // strings only: it can't
		panic(err)
	}
}
