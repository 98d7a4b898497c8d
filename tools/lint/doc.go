// Package lint is a test and nothing else. go test ./tools/lint refuses:
//
//   - code that is not formatted, that vet or staticcheck reject, or that is too long;
//   - words and calls that have no place here, in code and in pages;
//   - package comments over 60 lines, or with sentences over 35 words;
//   - fuzz targets without inputs;
//   - pages that link to nothing, or that name a file, a test, a make target, a verb or a
//     flag that does not exist.
//
// The tools module pins the checkers' versions, so hosts never see them.
//
// What it reads lies outside its module, so go test does not notice a change: run it
// with -count=1, as make check does.
package lint
