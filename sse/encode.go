package sse

import "github.com/pgbell/pgbell/bus"

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
