package wire

import "errors"

// The classes of what can be wrong with bytes. Wrapped with the field, the
// offset and both values.
var (
	// ErrCorrupt: a checksum, magic or size does not hold. The bytes are not what
	// was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion: intact, but written by a newer release.
	ErrVersion = errors.New("unknown version")
	// ErrProtocol: intact and of this version, but not allowed by FORMAT.md.
	ErrProtocol = errors.New("not allowed by the format")
	// ErrLimit: the caller's entry or message exceeds a limit of the format.
	ErrLimit = errors.New("over the format's limit")
)
