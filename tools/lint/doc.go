// Package lint is a test and nothing else: go test ./tools/lint refuses code
// that is not formatted, that vet or staticcheck object to, that has grown too
// long, or that keeps words and calls which have no place here. The checkers'
// versions are pinned in the tools module, so hosts never see them.
package lint
