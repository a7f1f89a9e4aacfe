package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

// proposalJSON is what attach --json prints without a scope.
type proposalJSON struct {
	Table    string            `json:"table_name"`
	Key      []string          `json:"key"`
	Scopes   []triggers.Reason `json:"scopes"`
	Audience []triggers.Reason `json:"audience"` // null: everyone
	Columns  []string          `json:"columns"`
	Payload  []string          `json:"payload"`
	Durable  bool              `json:"durable"`
	Regroup  *string           `json:"regroup"` // null: none
	Warnings []string          `json:"warnings"`
	Former   *feedJSON         `json:"former"` // the feed that it has now
	SQL      string            `json:"sql"`
}

// proposal is triggers' own, with what to think about before a yes.
type proposal struct {
	triggers.Proposal
	warnings []string
}

// propose proposes what the table might be attached with, but for what given says
// already.
func propose(ctx context.Context, conn *pgx.Conn, given triggers.Feed) (proposal, error) {
	p, err := triggers.Propose(ctx, conn, given.Table)
	if err != nil {
		return proposal{}, err
	}
	given.Table, given.Scopes = p.Feed.Table, p.Feed.Scopes
	if given.Audience == nil {
		given.Audience = p.Feed.Audience
	} else {
		p.Owners, p.Members, p.Nullable = nil, nil, nil
		for _, column := range given.Audience {
			p.Owners = append(p.Owners, triggers.Reason{What: column, Why: "as you say"})
		}
	}
	if given.Regroup == "" && given.Columns == nil && !given.Volatile {
		given.Regroup = p.Feed.Regroup
	}
	p.Feed = given
	feeds, err := triggers.List(ctx, conn)
	return proposal{p, proposalWarnings(p, feeds)}, err
}

// proposeFeed says what the table might be attached with, and on a terminal asks
// whether to do it. In a format it prints what would.
func proposeFeed(ctx context.Context, c *cli.Command, given triggers.Feed, format string) error {
	conn, err := connect(ctx, c)
	if err != nil {
		return usagef("attach needs at least one --scope, such as --scope %s: to have some proposed it needs a database: %s", exampleScope(given.Table), describe(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	p, err := propose(ctx, conn, given)
	if err != nil {
		return err
	}
	if format != "" {
		return writeFeed(c, proposalComment(p), p.Feed, p.Former, format, preview(ctx, conn, p.Feed))
	}
	sql, _, err := triggers.SQL(p.Feed, nil)
	if err != nil {
		return &usageError{err}
	}
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, proposalToJSON(p, sql))
	} else {
		err = printProposal(c, p, sql)
	}
	if err != nil {
		return err
	}
	if c.Bool("json") || !isTerminal(os.Stdin) || !isTerminal(c.Root().Writer) {
		return usagef("nothing was attached: to take this proposal run: %s", printable(commandLine(p.Feed)))
	}
	if yes, err := askProposal(ctx, c, &p); err != nil {
		return err
	} else if !yes {
		_, err := fmt.Fprintln(c.Root().Writer, "nothing was attached")
		return err
	}
	return attachFeed(ctx, c, conn, p.Feed)
}

// askProposal asks whether to attach what is proposed. That everyone may hear is a leak if it is
// wrong: where nobody has said so, a yes is not enough, and an owner may be named.
func askProposal(ctx context.Context, c *cli.Command, p *proposal) (bool, error) {
	yes, err := askYesNo(ctx, c, "Attach it? [y/N] ")
	if err != nil || !yes || p.Feed.Audience != nil {
		return yes, err
	}
	answer, err := askLine(ctx, c, "Who may hear of a row? Type the column that says whose it is, or everyone: ")
	if err != nil || answer == "" {
		return false, err
	}
	if answer != "everyone" {
		p.Feed.Audience = []string{answer}
	}
	return true, nil
}

func proposalToJSON(p proposal, sql string) proposalJSON {
	f := p.Feed
	out := proposalJSON{f.Table, p.Key, p.Scopes, p.Owners, f.Columns, f.Payload, !f.Volatile, textOrNil(f.Regroup), p.warnings, nil, sql}
	if p.Former != nil {
		former := feedToJSON(*p.Former)
		out.Former = &former
	}
	return out
}

// proposalWarnings are what to think about before a yes.
func proposalWarnings(p triggers.Proposal, feeds []triggers.Feed) []string {
	var all []string
	if len(p.Feed.Audience) == 0 {
		all = append(all, "no column looks like an owner: everybody may hear of every row; name one with --audience if that is wrong")
	}
	if len(p.Nullable) > 0 {
		all = append(all, fmt.Sprintf("%s may be null: of a row without an owner nobody hears", strings.Join(p.Nullable, ", ")))
	}
	for _, door := range openDoors(p.Feed, feeds) {
		all = append(all, fmt.Sprintf("%s %s; here everyone would hear of a row: copy the owner into this table, or let --authorize-sql decide who may subscribe", door.guard.Table, door.who()))
	}
	for _, m := range p.Members {
		if !slices.ContainsFunc(feeds, func(f triggers.Feed) bool { return f.Table == m.Table && f.Regroup != "" }) {
			all = append(all, fmt.Sprintf("who is in a group is up to serve: --groups-sql, tokens or a header; so that it asks again when %s changes: %s", m.Table, commandLine(m)))
		}
	}
	if p.Feed.Regroup != "" {
		all = append(all, "this table says who is in which group, so that each change of it has serve ask --groups-sql again for the users in "+p.Feed.Regroup)
	}
	if len(p.Key) == 0 {
		all = append(all, "there is no primary key: events say that a row changed, but not which")
	}
	if p.Former != nil {
		all = append(all, fmt.Sprintf("it has a feed already, which this replaces: scopes %s, %s", strings.Join(p.Former.Scopes, ", "), audienceWords(*p.Former)))
	}
	return all
}

// proposalComment says in SQL comments why the feed is proposed.
func proposalComment(p proposal) string {
	lines := []string{"Proposed by the definition of " + p.Feed.Table + ":"}
	for _, part := range []struct {
		label   string
		reasons []triggers.Reason
	}{{"scope", p.Scopes}, {"audience", p.Owners}} {
		for _, r := range part.reasons {
			lines = append(lines, fmt.Sprintf("  %s %s: %s", part.label, r.What, r.Why))
		}
	}
	for _, warning := range p.warnings {
		lines = append(lines, "Warning: "+warning)
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("-- " + printable(line) + "\n")
	}
	return b.String()
}

func printProposal(c *cli.Command, p proposal, sql string) error {
	out := c.Root().Writer
	paint := newPainter(out)
	fmt.Fprintf(out, "%s\n\n", paint(bold, printable(p.Feed.Table)))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  key\t%s\n", listWords(p.Key, "none", "none"))
	for _, part := range []struct {
		label, absent string
		reasons       []triggers.Reason
	}{{"scopes", "", p.Scopes}, {"audience", "everyone", p.Owners}} {
		if len(part.reasons) == 0 {
			fmt.Fprintf(w, "  %s\t%s\n", part.label, part.absent)
		}
		for i, r := range part.reasons {
			label := part.label
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", label, printable(r.What), printable(r.Why))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, warning := range p.warnings {
		fmt.Fprintf(out, "\n%s %s\n", paint(yellow, "warning:"), printable(warning))
	}
	_, err := fmt.Fprintf(out, "\n%s\n\n", printableLines(sql))
	return err
}
