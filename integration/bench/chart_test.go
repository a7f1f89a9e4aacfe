package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPicturesAreWellFormed(t *testing.T) {
	lines := []line{
		{Name: "naive p99", X: []float64{1, 10, 100}, Y: []float64{0, 3, 20_000}},
		{Name: "pgbell p99", X: []float64{1, 10, 100}, Y: []float64{0.5, 0.7, 0.9}},
		{Name: "net/http <&>", X: []float64{1, 10, 100}, Y: []float64{0.5, 0.7, 0.9}},
	}
	for name, c := range charts {
		text := c.draw(lines)
		for d := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
		}
		for _, want := range []string{"naive p99 20,000", "pgbell p99 0.9", "&lt;&amp;&gt;", c.title} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
			t.Errorf("%s: a place is not a number:\n%s", name, text)
		}
	}
}

func TestPictureOfOnePoint(t *testing.T) {
	for name, c := range charts {
		for _, y := range []float64{0, 1, 1e6} {
			text := string(c.draw([]line{{Name: naive, X: []float64{1}, Y: []float64{y}}}))
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("%s of %v: a place is not a number:\n%s", name, y, text)
			}
		}
	}
}
