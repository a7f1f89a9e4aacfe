package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/triggers"
)

// plainError says in our own words what err means. The words stand for all of
// err, which stays in the chain.
type plainError struct {
	words string
	err   error
}

func (e *plainError) Error() string { return e.words }
func (e *plainError) Unwrap() error { return e.err }

func plainf(err error, format string, args ...any) error {
	return &plainError{fmt.Sprintf(format, args...), err}
}

// describe returns one line that says what went wrong and what to do about it.
func describe(err error) string {
	var plain *plainError
	var connect *pgconn.ConnectError
	var pgErr *pgconn.PgError
	switch words := err.Error(); {
	case errors.As(err, &plain):
		return oneLine(words)
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &connect):
		return oneLine(connectProblem(connect.Config, err).Error())
	case triggers.NotMigrated(err):
		return "pgbell is not installed in this database, or an older version of it: run: pgbell migrate"
	case errors.As(err, &pgErr):
		return oneLine(strings.Replace(words, pgErr.Error(), serverWords(pgErr), 1))
	}
	if m := badVariable.FindStringSubmatch(err.Error()); m != nil {
		return oneLine(m[2] + ": " + valueProblem(m[1], m[3]))
	}
	return oneLine(err.Error())
}

// serverWords are the parts of a server's error that a user can act on.
func serverWords(e *pgconn.PgError) string {
	words := []string{e.Message}
	if e.Detail != "" {
		words = append(words, e.Detail)
	}
	if hint := e.Hint; hint != "" {
		words = append(words, hint)
	} else if hint := hints[e.Code]; hint != "" {
		words = append(words, hint)
	}
	for i := range words {
		words[i] = strings.TrimSuffix(words[i], ".")
	}
	return strings.Join(words, ". ")
}

// hints are for errors to which Postgres has nothing to add.
var hints = map[string]string{
	"42501": "Connect as the role that ran pgbell migrate, as a member of it, or grant this role what is missing", // insufficient_privilege
	"25006": "Is this a standby? Connect to the primary",                                                          // read_only_sql_transaction
	"22P05": "Events are in UTF8: where a row has such a character, each of its changes is a reset",               // untranslatable_character
	"22021": "Events are in UTF8: where a row has such bytes, each of its changes is a reset",                     // character_not_in_repertoire
	"55P03": "Another transaction holds the table: try again when it is over",                                     // lock_not_available
}

// oneLine folds s into one line that a terminal shows as it is.
func oneLine(s string) string {
	return printable(strings.Join(strings.Fields(s), " "))
}

// printable escapes what a terminal would not show or would obey.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
