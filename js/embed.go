// Package js holds the browser's side of pgbell, an ES module, which is also the npm
// package pgbell.
package js

import _ "embed"

// Module is pgbell.js.
//
//go:embed pgbell.js
var Module []byte
