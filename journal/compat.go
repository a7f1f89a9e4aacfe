package journal

import "github.com/pgbell/pgbell/journal/scope"

type Template = scope.Template

const MaxScopeBytes = scope.MaxBytes

func CanonicalScope(s string) string                { return scope.Canonical(s) }
func ParseTemplate(s string) (Template, error)      { return scope.Parse(s) }
func ParseTemplates(s []string) ([]Template, error) { return scope.ParseAll(s) }
