package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
	"github.com/pgbell/pgbell/triggers/deps"
)

func depsCommand() *cli.Command {
	return &cli.Command{
		Name:      "deps",
		Usage:     "say which scopes tell of each change that can change a query's result",
		ArgsUsage: "QUERY|FUNCTION",
		Description: "QUERY is one SELECT, with parameters $1, $2 and so on; FUNCTION the name of one that returns the rows. Nothing is run.\n" +
			"Exits with 1 if some change could go unheard, and with 2 if it is no single SELECT.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: dependencies,
	}
}

// errUnheard makes deps exit with 1 after all was printed.
var errUnheard = errors.New("a change could go unheard")

func dependencies(ctx context.Context, c *cli.Command) error {
	if n := c.Args().Len(); n != 1 {
		return usagef("deps takes one query, in quotes, or the name of a function, got %d arguments: see pgbell deps --help", n)
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	d, err := triggers.Deps(ctx, conn, c.Args().First())
	if q := (*deps.QueryError)(nil); errors.As(err, &q) {
		return usagef("%s", queryProblem(q))
	} else if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, dependenciesToJSON(d))
	} else {
		err = printDependencies(c.Root().Writer, d)
	}
	if err == nil && !d.Complete() {
		return plainf(errUnheard, "some change could go unheard")
	}
	return err
}

// dependenciesJSON is what deps --json prints.
type dependenciesJSON struct {
	Complete  bool           `json:"complete"`
	Relations []relationJSON `json:"relations"`
	Opaque    []string       `json:"opaque"`
	Time      []string       `json:"time"`
}

type relationJSON struct {
	Table    string            `json:"table"`
	Columns  []string          `json:"columns"`
	Equals   map[string]string `json:"equals"`
	Among    map[string]string `json:"among,omitempty"`
	Scope    string            `json:"scope,omitempty"`
	Lookup   string            `json:"lookup,omitempty"`   // a live query's scopes in place of it
	Audience []string          `json:"audience,omitempty"` // who else is told nothing
	Missing  string            `json:"missing,omitempty"`  // why there is no scope
	Attach   string            `json:"attach,omitempty"`
}

func dependenciesToJSON(d triggers.Dependencies) dependenciesJSON {
	out := dependenciesJSON{
		Complete: d.Complete(), Relations: []relationJSON{}, Opaque: append([]string{}, d.Opaque...), Time: append([]string{}, d.Time...),
	}
	for _, r := range d.Relations {
		equals, among := map[string]string{}, map[string]string{}
		for _, e := range r.Equals {
			equals[e.Column] = e.Value.String()
		}
		for _, m := range r.Among {
			among[m.Column] = m.Of.String()
		}
		out.Relations = append(out.Relations, relationJSON{r.Table, r.Columns, equals, among, r.Scope, r.Lookup, r.Audience, r.Missing, r.Attach})
	}
	return out
}

func printDependencies(out io.Writer, d triggers.Dependencies) error {
	if len(d.Relations)+len(d.Opaque) == 0 {
		fmt.Fprintln(out, "The query reads no table.")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(d.Relations) > 0 {
		fmt.Fprintln(w, "TABLE\tCOLUMNS\tEQUALS\tSCOPE\tHEARD BY")
	}
	for _, r := range d.Relations {
		var equals []string
		for _, e := range r.Equals {
			equals = append(equals, e.Column+" = "+e.Value.String())
		}
		for _, m := range r.Among {
			equals = append(equals, m.Column+" among "+m.Of.String())
		}
		scope, heard := printable(r.Scope), listWords(r.Audience, "everyone", "nobody")
		if r.Scope == "" {
			scope, heard = "(none)", ""
		}
		fmt.Fprintln(w, strings.Join([]string{printable(r.Table), listWords(r.Columns, "", ""), printable(strings.Join(equals, ", ")), scope, heard}, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range d.Relations {
		switch {
		case r.Lookup != "" && r.Scope != "":
			fmt.Fprintf(out, "\nA live query listens to %s in place of %s.\n", printable(r.Lookup), printable(r.Scope))
		case r.Lookup != "":
			fmt.Fprintf(out, "\nA live query listens to %s.\n", printable(r.Lookup))
		}
	}
	for i, r := range d.Relations {
		if r.Missing == "" {
			continue
		}
		fmt.Fprintf(out, "\n%s %s.\n", printable(r.Table), printable(r.Missing))
		last := true
		for _, later := range d.Relations[i+1:] {
			last = last && (later.Table != r.Table || later.Missing == "")
		}
		if last {
			fmt.Fprintln(out, r.Attach)
		}
	}
	for _, name := range d.Opaque {
		fmt.Fprintf(out, "\n%s can't be looked into: %s.\n", printable(name), opaqueBecause(name))
	}
	if len(d.Time) > 0 {
		fmt.Fprintf(out, "\nThe result changes by itself, too: %s.\n", printable(strings.Join(d.Time, ", ")))
	}
	return nil
}

// opaqueBecause says what is in the way, and what one can do.
func opaqueBecause(name string) string {
	function, schema := strings.HasSuffix(name, ")"), strings.Contains(strings.Split(name, "(")[0], ".")
	switch {
	case !function:
		return "no trigger tells when it changes"
	case !schema:
		return "what it gives follows from more than rows of tables"
	}
	return "write it with begin atomic or return, or say in its comment what it reads"
}

// queryProblem is one line.
func queryProblem(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
