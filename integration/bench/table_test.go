package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTargetsAreJudgedByTheRatioWhereThereIsOne(t *testing.T) {
	for _, tt := range []struct {
		name  string
		row   figure
		of    string
		bound *target
		want  string // ratio, target, verdict
	}{
		{"at least, reached", figure{Bare: new(100.0), Pgbell: new(60.0)}, bare, atLeast(0.6), "0.60 of bare|≥ 0.6|met"},
		{"at least, missed", figure{Bare: new(100.0), Naive: new(1.0), Pgbell: new(59.0)}, bare, atLeast(0.6), "0.59 of bare|≥ 0.6|**not met**"},
		{"at most, reached", figure{Naive: new(4.0), Pgbell: new(2.0)}, naive, atMost(0.75), "0.50 of naive|≤ 0.75|met"},
		{"at most, missed", figure{Naive: new(4.0), Pgbell: new(4.0)}, naive, atMost(0.75), "1.00 of naive|≤ 0.75|**not met**"},
		{"no ratio", figure{Naive: new(4.0), Pgbell: new(0.0)}, "", atMost(0), "|≤ 0|met"},
		{"no target", figure{Naive: new(4.0), Pgbell: new(2.0), Note: "so"}, naive, nil, "0.50 of naive||so"},
		{"no ratio to nothing", figure{Naive: new(0.0), Pgbell: new(2.0)}, naive, nil, "||"},
		{"no verdict without a ratio", figure{Naive: new(0.0), Pgbell: new(2.0)}, naive, atLeast(1.1), "|≥ 1.1|"},
	} {
		f := tt.row.judge(tt.of, tt.bound)
		if got := strings.Join([]string{f.ratioCell(), f.targetCell(), f.metCell()}, "|"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRatioIsToAnotherRowWhereItSaysSo(t *testing.T) {
	f := figure{Bare: new(10.0), Naive: new(30.0), Pgbell: new(40.0)}.against("one row", new(25.0), atMost(1.5))
	if got := f.ratioCell() + "|" + f.metCell(); got != "1.60 of one row|**not met**" {
		t.Errorf("got %s", got)
	}
}

func TestTimesAboveBareAreWithoutBares(t *testing.T) {
	f := figure{Name: "an UPDATE"}
	f.aboveBare(map[string][]float64{bare: {10, 1010, 9}, naive: {30, 1000, 29}, pgbell: {18, 1018, 20}}) // of three rounds
	if *f.Naive != 20 || *f.Pgbell != 8 || *f.Bare != 10 || f.Name != "an UPDATE, time above bare" {
		t.Errorf("%s: bare %v, naive %v, pgbell %v", f.Name, *f.Bare, *f.Naive, *f.Pgbell)
	}
}

func TestNumbersHaveThreeDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.85: "0.85", 0.0123: "0.012", 1.005: "1", 12.34: "12.3", 123.4: "123", 1234: "1,234", 460000: "460,000", -1234.5: "-1,234",
	} {
		if got := number(&v); got != want {
			t.Errorf("number(%v) = %s, want %s", v, got, want)
		}
	}
	if got := number(nil); got != "" {
		t.Errorf("number(nil) = %q, want nothing", got)
	}
}

func TestTablesReplaceTheFormerOnesAlone(t *testing.T) {
	r := report{
		At:   time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Rows: []figure{{Key: "memory-loaded", Name: "a row", Unit: "KiB", Pgbell: new(10.0)}},
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "performance.md")
	const text = "one\n<!-- table, by make bench-docs -->\n%s<!-- end of table -->\ntwo\n<!-- sizing, by make bench-docs -->\n%s<!-- end of sizing -->\nthree\n"
	if err := os.WriteFile(path, fmt.Appendf(nil, text, "", "an older one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.writeTables(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(text, "\n"+r.table()+"\n", "\n"+r.sizing()+"\n"); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(r.table(), "| a row | KiB |  |  | 10 |  |  |  |\n") || !strings.Contains(r.sizing(), "| 420,000 |") {
		t.Errorf("the row is in neither:\n%s\n%s", r.table(), r.sizing())
	}
	if err := os.WriteFile(path, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.writeTables(dir); err == nil {
		t.Error("a text without the marks was replaced")
	}
}
