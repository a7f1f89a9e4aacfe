package sse

import (
	"encoding/json"
	"testing"

	"github.com/pgbell/pgbell/bus"
)

func TestFrameIsWhatAStreamSends(t *testing.T) {
	e := bus.ChangeEvent{Scope: "project:7", Op: bus.OpUpdate, Table: "public.tasks", Key: json.RawMessage(`{"id":1}`), Changed: []string{"title"}}
	got, err := Frame("c-1", e)
	want := "event: project:7\nid: c-1\ndata: {\"scope\":\"project:7\",\"op\":\"update\",\"table\":\"public.tasks\",\"key\":{\"id\":1},\"changed\":[\"title\"]}\n\n"
	if got != want || err != nil {
		t.Errorf("Frame = %q, %v, want %q", got, err, want)
	}
	e.Key = json.RawMessage(`{`)
	if got, err := Frame("", e); err == nil {
		t.Errorf("Frame of a key that is not JSON = %q, want an error", got)
	}
}
