// Command pgbell rings when rows of a PostgreSQL database change: it attaches
// feeds to tables, serves their changes over SSE, and shows them in a terminal.
//
// Each subcommand has a few files, named for it; app.go lists the subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // none is lost, however soon the second comes
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals // the user won't wait
		os.Exit(1)
	}()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run runs one command line and returns its exit code: 0 done, 1 failed, 2 bad
// usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).Run(ctx, args)
	if err == nil {
		return 0
	}
	var failed *actionError
	var usage *usageError
	if !errors.As(err, &failed) || errors.As(err, &usage) {
		fmt.Fprintln(stderr, "pgbell: "+describe(err))
		return 2 // what no action returned, the parsing of the command line did
	}
	if failed.command == "serve" && !isTerminal(stderr) { // as all else that it writes there
		newLogger(stderr, slog.LevelError).Error("pgbell ended", "error", err)
	} else {
		fmt.Fprintln(stderr, "pgbell: "+describe(err))
	}
	return 1
}
