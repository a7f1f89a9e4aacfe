package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
)

// printJSON prints v for people and programs alike.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// newLogger logs text to a terminal and JSON to anything else, errors in the
// words of describe, and few of one kind: see fewRecords.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(describe(err))
		}
		return a
	}}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(limitRecords(slog.NewTextHandler(w, options)))
		}
	}
	return slog.New(limitRecords(slog.NewJSONHandler(w, options)))
}
