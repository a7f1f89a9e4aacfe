package sse

import (
	"context"
	"strings"

	"github.com/pgbell/pgbell/journal"
)

// ByScopes is the AuthorizeFunc that allows what the identity's Scopes name, and
// nothing to one that has none.
func ByScopes(_ context.Context, id Identity, scope string) (bool, error) {
	for _, pattern := range id.Scopes {
		begin, open := strings.CutSuffix(pattern, "*")
		begin = journal.CanonicalScope(begin)
		if scope == begin && !open || open && strings.HasPrefix(scope, begin) {
			return true, nil
		}
	}
	return false, nil
}
