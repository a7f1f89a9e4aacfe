package main

import (
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
	} {
		f := tt.row.judge(tt.of, tt.bound)
		if got := strings.Join([]string{f.ratioCell(), f.targetCell(), f.metCell()}, "|"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
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

func TestTableReplacesTheFormerOneAlone(t *testing.T) {
	r := report{At: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Rows: []figure{{Name: "a row", Unit: "ms", Pgbell: new(1.0)}}}
	first, err := replaceTable("before\n"+tableBegin+tableEnd+"after\n", "an older table\n")
	if err != nil {
		t.Fatal(err)
	}
	second, err := replaceTable(first, r.table())
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + tableBegin + "\n" + r.table() + "\n" + tableEnd + "after\n"; second != want {
		t.Errorf("got\n%s\nwant\n%s", second, want)
	}
	if !strings.Contains(second, "| a row | ms |  |  | 1 |  |  |  |\n") {
		t.Errorf("the row is not in the table:\n%s", second)
	}
	if _, err := replaceTable("no marks", r.table()); err == nil {
		t.Error("a text without the marks was replaced")
	}
}
