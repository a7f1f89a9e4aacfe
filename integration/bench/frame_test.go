//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	ofPgbell = "retry: 3000\n\nevent: ready\nid: 1-2:2:\ndata: {\"cursor\":\"1-2:2:\",\"scopes\":[\"project:0\"]}\n\n" +
		": beat\n\nid: 1-3:3:\n\n" +
		"event: project:0\nid: 1-4:4:\ndata: {\"scope\":\"project:0\",\"op\":\"update\",\"table\":\"public.tasks\",\"key\":{\"id\":17},\"changed\":[\"title\"]}\n\n" +
		"event: project:0\nid: 1-4:4:\ndata: {\"scope\":\"project:0\",\"op\":\"reset\",\"reason\":\"slow\"}\n\n" +
		"event: project:0\nid: 1-4:4:\ndata: {\"scope\":\"project:0\",\"op\":\"update\",\"key\":{\"id\":100000}}\n\n"
	ofNaive = "id: \ndata: {\"table\" : \"tasks\", \"op\" : \"UPDATE\", \"id\" : 17, \"row\" : {\"id\":17,\"project_id\":0}}\nevent: project:0\n\n" +
		"id: \ndata: {\"table\" : \"tasks\", \"op\" : \"UPDATE\", \"id\" : 100000, \"row\" : {\"id\":100000,\"project_id\":0}}\nevent: project:0\n\n"
)

// chunks puts text into chunks of so many bytes.
func chunks(text string, size int) string {
	var b strings.Builder
	for chunk := range slices.Chunk([]byte(text), size) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return b.String()
}

func TestFramesAreFoundHoweverTheyArrive(t *testing.T) {
	const head, chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", "Transfer-Encoding: chunked\r\n"
	reset := frame{reset: true}
	for _, tt := range []struct {
		name, text string
		waits      bool
		want       []frame
	}{
		{"pgbell", head + "\r\n" + ofPgbell, true, []frame{{id: 17}, reset, {id: 100_000}}},
		{"pgbell, chunked", head + chunked + "\r\n" + chunks(ofPgbell, 37), true, []frame{{id: 17}, reset, {id: 100_000}}},
		{"naive", head + chunked + "\r\n" + chunks(ofNaive, 200), false, []frame{{id: 17}, {id: 100_000}}},
	} {
		for _, size := range []int{1, 2, 7, 100, len(tt.text)} {
			s := &stream{waits: tt.waits}
			var got []frame
			for part := range slices.Chunk([]byte(tt.text), size) {
				if err := s.feed(part, func(f frame) { got = append(got, f) }); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, tt.want) || !s.live {
				t.Errorf("%s, %d bytes at a time: got %v, live %v; want %v", tt.name, size, got, s.live, tt.want)
			}
		}
	}
}

func TestStreamIsLiveOnceTheServerSaysSo(t *testing.T) {
	s := &stream{waits: true}
	head := "HTTP/1.1 200 OK\r\n\r\nretry: 3000\n\n"
	if err := s.feed([]byte(head), nil); err != nil || s.live {
		t.Errorf("after the header alone: live %v, %v", s.live, err)
	}
}

func TestRefusalIsAnError(t *testing.T) {
	s := &stream{}
	if err := s.feed([]byte("HTTP/1.1 503 Service Unavailable\r\n\r\n"), nil); err == nil || s.live {
		t.Errorf("got %v, live %v; want an error", err, s.live)
	}
}
