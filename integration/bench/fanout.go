//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Servers that have no database, and show what the fan-out costs at least.
const (
	plainHTTP     = "net/http"
	plainHijacked = "hijacked"
)

// fanned is what one server's fan-out took, over all rounds.
type fanned struct {
	timed
	cpu          []float64 // seconds per million frames
	idle, loaded []float64 // KiB for each stream
	memory       line      // KiB by number of streams, of the last round
}

// fanout measures one event to many streams: the time, the server's CPU, its memory.
func (w *world) fanout(ctx context.Context, r *report) error {
	all := map[string]*fanned{naive: {}, pgbell: {}, plainHTTP: {}, plainHijacked: {}}
	err := turns(two, min(2, w.plan.rounds), func(name string) error { return w.fanoutOf(ctx, name, all[name]) })
	if err != nil {
		return err
	}
	if err := turns([]string{plainHTTP, plainHijacked}, 1, func(name string) error { return w.fanoutOf(ctx, name, all[name]) }); err != nil {
		return err
	}
	streams := w.plan.streams[len(w.plan.streams)-1]
	add := func(key, name, unit string, bound float64, ratio bool, value func(*fanned) float64) {
		row := figure{
			Key: key, Name: name, Unit: unit, Bare: new(value(all[plainHTTP])), Naive: new(value(all[naive])), Pgbell: new(value(all[pgbell])),
			Others: map[string]float64{plainHijacked: value(all[plainHijacked])}, Note: "bare: net/http alone, without Postgres",
		}
		of := ""
		if ratio {
			of = naive
		}
		r.Rows = append(r.Rows, row.judge(of, atMost(bound)))
	}
	add("fanout-p50", fmt.Sprintf("1 event to %s streams, 10/s, p50", count(streams)), "ms", 0.75, true, func(f *fanned) float64 { return f.sent.quantile(0.5) })
	add("fanout-p99", "the same, p99", "ms", 0.75, true, func(f *fanned) float64 { return f.sent.quantile(0.99) })
	add("fanout-cpu", "server CPU per million frames", "s", 0.75, true, func(f *fanned) float64 { return median(f.cpu) })
	add("memory-idle", fmt.Sprintf("memory per stream at %s, idle", count(streams)), "KiB", 9, false, func(f *fanned) float64 { return median(f.idle) })
	add("memory-loaded", "the same, loaded", "KiB", 10, false, func(f *fanned) float64 { return median(f.loaded) })
	for _, name := range []string{plainHTTP, plainHijacked, naive, pgbell} {
		f := all[name]
		w.log("%d streams, %s: p50 %.1f ms, p99 %.1f ms, %.1f CPU s per million frames, %.1f KiB idle, %.1f loaded, %d of %d frames, %d resets", streams, name,
			f.sent.quantile(0.5), f.sent.quantile(0.99), median(f.cpu), median(f.idle), median(f.loaded), f.got, f.want, f.resets)
		f.memory.Name = name
		r.Curves["memory"] = append(r.Curves["memory"], f.memory)
	}
	return nil
}

// fanoutOf is one round of one server, which is started for it.
func (w *world) fanoutOf(ctx context.Context, name string, all *fanned) error {
	server, err := w.serveFanout(ctx, name)
	if err != nil {
		return err
	}
	defer server.stop()
	s, err := newStreams()
	if err != nil {
		return err
	}
	defer s.close()
	if err := pause(ctx, w.plan.settle/2); err != nil {
		return err
	}
	before, err := server.resident()
	if err != nil {
		return err
	}
	all.memory = line{}
	open, used := 0, 0.0
	for _, streams := range w.plan.streams {
		if err := s.open(ctx, name, server.addr, same("project:0", streams-open)); err != nil {
			return err
		}
		open = streams
		settle := w.plan.settle / 2
		if streams == w.plan.streams[len(w.plan.streams)-1] {
			settle = w.plan.settle
		}
		if err := pause(ctx, settle); err != nil {
			return err
		}
		if used, err = server.resident(); err != nil {
			return err
		}
		all.memory.X, all.memory.Y = append(all.memory.X, float64(open)), append(all.memory.Y, (used-before)/1024)
	}
	all.idle = append(all.idle, (used-before)/float64(open))

	cpuBefore, err := server.cpu()
	if err != nil {
		return err
	}
	got := all.got
	l := newLoad(1, evenly(10, w.plan.events))
	if err := w.timeLoad(ctx, s, l, int64(open), &all.timed, w.fanoutWriter(name, server, l)); err != nil {
		return err
	}
	cpu, err := server.cpu()
	if err != nil {
		return err
	}
	all.cpu = append(all.cpu, (cpu-cpuBefore).Seconds()*1e6/float64(all.got-got))
	if used, err = server.resident(); err != nil {
		return err
	}
	all.loaded = append(all.loaded, (used-before)/float64(open))
	return nil
}

func (w *world) serveFanout(ctx context.Context, name string) (*process, error) {
	if name == plainHTTP || name == plainHijacked {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return start(ctx, "", self, serveArg, name)
	}
	if err := w.makeTable(ctx, name, shape{rows: 1000, projects: 1}); err != nil {
		return nil, err
	}
	return w.serve(ctx, name)
}

// fanoutWriter returns what makes the writers of a load.
func (w *world) fanoutWriter(name string, server *process, l *load) newWriterFunc {
	if name != plainHTTP && name != plainHijacked {
		return l.updates(w.url(name))
	}
	return func(ctx context.Context) (func(int) error, func(), error) {
		client := &http.Client{Transport: &http.Transport{}}
		return func(i int) error {
			data := fmt.Sprintf(`{"scope":"project:0","op":"update","table":"public.tasks","key":{"id":%d},"changed":["title","done","updated_at"],"at":"2026-11-22T15:04:23.025Z"}`, l.first+i)
			resp, err := client.Post("http://"+server.addr+"/emit", "application/json", strings.NewReader(data))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}, client.CloseIdleConnections, nil
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
