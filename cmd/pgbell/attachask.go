package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

// commandLine is the command that attaches f, for a shell.
func commandLine(f triggers.Feed) string {
	words := []string{"pgbell", "attach", f.Table}
	for _, scope := range f.Scopes {
		words = append(words, "--scope", scope)
	}
	for _, list := range []struct {
		flag    string
		columns []string
	}{{"--audience", f.Audience}, {"--columns", f.Columns}, {"--payload", f.Payload}} {
		for _, column := range list.columns {
			if strings.ContainsAny(column, `",`) || column != strings.TrimSpace(column) {
				column = `"` + strings.ReplaceAll(column, `"`, `""`) + `"`
			}
			words = append(words, list.flag, column)
		}
	}
	if f.Volatile {
		words = append(words, "--durable=false")
	}
	if f.Regroup != "" {
		words = append(words, "--regroup", f.Regroup)
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// shellWord quotes s for a POSIX shell where that is needed.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/=@%+", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// askYesNo asks on the terminal. All but a yes is a no, the end of input too.
func askYesNo(ctx context.Context, c *cli.Command, question string) (bool, error) {
	answer, err := askLine(ctx, c, question)
	answer = strings.ToLower(answer)
	return answer == "y" || answer == "yes", err
}

// askLine asks on the terminal for a line, and returns it without the space around it.
func askLine(ctx context.Context, c *cli.Command, question string) (string, error) {
	if _, err := fmt.Fprint(c.Root().Writer, question); err != nil {
		return "", err
	}
	answers := make(chan string, 1)
	go func() { // until the program ends, if it is interrupted meanwhile
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answers <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.Root().Writer)
		return "", context.Cause(ctx)
	case line := <-answers:
		if !strings.HasSuffix(line, "\n") {
			fmt.Fprintln(c.Root().Writer)
		}
		return strings.TrimSpace(line), nil
	}
}
