package main

import (
	"os"
	"strings"

	"golang.org/x/term"
)

// isTerminal says whether file, a reader or a writer, is a terminal.
func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour is what a terminal is told in front of a text: parameters of SGR, see
// ECMA-48, 8.3.117.
type colour string

const (
	bold    colour = "1"
	dim     colour = "2"
	red     colour = "31"
	green   colour = "32"
	yellow  colour = "33"
	blue    colour = "34"
	magenta colour = "35"
	cyan    colour = "36"
	inverse colour = "1;7;33"
)

// newPainter returns a func that colours a text for out: not unless that is a
// terminal, nor if NO_COLOR is set, see no-color.org.
func newPainter(out any) func(colour, string) string {
	if !isTerminal(out) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_ colour, s string) string { return s }
	}
	return func(c colour, s string) string {
		if s == "" {
			return ""
		}
		return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
	}
}

// printableLines is printable for each line of s.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}
