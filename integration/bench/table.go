package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// table returns the rows as Markdown, with what they were measured on.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| | | bare | naive | pgbell | ratio | to reach | |\n|---|---|--:|--:|--:|--:|--:|---|\n")
	for _, f := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n",
			f.Name, f.Unit, f.bareCell(), number(f.Naive), number(f.Pgbell), f.ratioCell(), f.targetCell(), f.metCell())
	}
	m := r.Machine
	fmt.Fprintf(&b, "\n%s, all on one machine: %d cores (%s), load average %s before it began, Linux %s, PostgreSQL %s, %s; took %s.\n",
		r.At.Format("2006-01-02"), m.Cores, m.CPU, m.Load, m.Kernel, m.Postgres, m.Go, r.Took)
	return b.String()
}

// count returns n as number does.
func count(n int) string { return number(new(float64(n))) }

// number returns v with three digits that count.
func number(v *float64) string {
	if v == nil {
		return ""
	}
	digits := 0
	if a := math.Abs(*v); a > 0 && a < 100 {
		digits = max(0, 2-int(math.Floor(math.Log10(a))))
	}
	text := strconv.FormatFloat(*v, 'f', min(digits, 3), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}

func (f figure) bareCell() string {
	cell := number(f.Bare)
	for name, v := range f.Others {
		cell += fmt.Sprintf(" (%s %s)", name, number(&v))
	}
	return cell
}

func (f figure) ratioCell() string {
	if f.Ratio == nil {
		return ""
	}
	return fmt.Sprintf("%.2f of %s", *f.Ratio, f.Of)
}

func (f figure) targetCell() string {
	switch t := f.Target; {
	case t == nil:
		return ""
	case t.AtLeast != nil:
		return "≥ " + number(t.AtLeast)
	default:
		return "≤ " + number(t.AtMost)
	}
}

func (f figure) metCell() string {
	word := ""
	if f.Met != nil {
		word = map[bool]string{true: "met", false: "**not met**"}[*f.Met]
	}
	if f.Note == "" {
		return word
	}
	return strings.TrimPrefix(word+"; "+f.Note, "; ")
}

// writeTables puts the table and the sizing into the performance.md in dir.
func (r *report) writeTables(dir string) error {
	path := filepath.Join(dir, "performance.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	replaced, err := replace(string(text), "table", r.table())
	if err == nil {
		replaced, err = replace(replaced, "sizing", r.sizing())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(replaced), 0o644)
}

// replace returns text with something else between the marks of this name.
func replace(text, name, with string) (string, error) {
	begin, end := "<!-- "+name+", by make bench-docs -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", fmt.Errorf("the marks %q and %q are missing", begin, end)
	}
	return before + begin + "\n" + with + "\n" + end + after, nil
}
