package sse

import "fmt"

// addLives adds frames under the id that the client has, but for the last, which gets id: a
// client that is cut amid them is told of all of them again.
func (s *stream) addLives(b *frames, due []liveFrame, has, id string) error {
	for i, f := range due {
		if i == len(due)-1 {
			has = id
		}
		if f.rows == nil {
			b.live(has, f.of.asked, f.reset)
			continue
		}
		data, err := f.rows.since(f.has)
		if err != nil {
			return fmt.Errorf("rows of %s: %w", f.of.asked, err)
		}
		b.liveRows(has, f.of.asked)
		if len(data) < maxBatch {
			b.buf.Write(data)
		} else { // not copied, however slow the client
			if err := s.write(b); err != nil {
				return err
			}
			b.alone = data
		}
		if b.full() {
			if err := s.write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// liveRows begins a frame that says which rows q has: the end of its data is to follow.
func (b *frames) liveRows(id string, q LiveQuery) {
	b.join()
	b.field("event", q.liveScope())
	b.idLine(id)
	b.buf.WriteString(`data: {"live":"` + q.String() + `",`)
	b.events++
}

// live says that the result of q is another, or why to fetch it anew.
func (b *frames) live(id string, q LiveQuery, reset string) {
	data := struct {
		Live   string `json:"live"`
		Op     string `json:"op"`
		Reason string `json:"reason,omitempty"`
	}{q.String(), "changed", reset}
	if reset != "" {
		data.Op = "reset"
	}
	if err := b.frame(q.liveScope(), id, data); err != nil { // strings only: it can't
		panic(err)
	}
	b.events++
}
