// Package repo holds the tests that are about the repository itself: which package may import which, that every package says
// what it is, that the route table and the OpenAPI document are the same list, that no document names a command which does not
// exist. It has no code of its own. When one of these tests stands in the way, change the structure, or change docs/design.md
// and the rule together.
package repo
