module github.com/claudefs/repl/tools

go 1.26
