package sse

import (
	"testing"
	"time"

	"github.com/pgbell/pgbell/bus"
)

// BenchmarkFrame is what one stream adds to a write of an event that it shares.
func BenchmarkFrame(b *testing.B) {
	x, err := bus.New(bus.Config{})
	if err != nil {
		b.Fatal(err)
	}
	h, err := NewHandler(x, Config{})
	if err != nil {
		b.Fatal(err)
	}
	d := &bus.Delivery{Event: bus.ChangeEvent{Scope: "project:7", Op: bus.OpUpdate, Table: "public.tasks", Key: []byte(`{"id":9}`),
		Changed: []string{"title"}, At: time.Unix(1, 0), Cursor: cursor(7)}}
	for name, id := range map[string]string{"shared": cursor(7), "other id": cursor(6)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := takeFrames()
				h.frame(f, d).add(f, id)
				f.free()
			}
		})
	}
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.encodeShared(&d.Event)
		}
	})
}
