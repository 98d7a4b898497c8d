// Package lint is a test and nothing else: go test ./tools/lint refuses code
// that is not formatted, that vet or staticcheck object to, that has grown too
// long, or that keeps words and calls which have no place here; fuzz targets that
// have no inputs; and pages whose links lead nowhere, or that name a file, a test, a
// make target, a verb or a flag of cfs that there is not. The checkers' versions are
// pinned in the tools module, so hosts never see them.
//
// What it reads lies outside its module, so go test does not notice a change: run it
// with -count=1, as make check does.
package lint
