package plan

// Plant names what the world around the engine does wrong on purpose: its disk, or
// the host's Store. A campaign must find each of them. The engine's own mistakes
// are in no plain build: those are the museum's, see docs/museum.md.
type Plant string

const (
	// PlantLyingFlush is a disk whose Sync does nothing and says that it did.
	PlantLyingFlush Plant = "lying-flush"
	// PlantNoDirSync is a disk that never makes a directory durable.
	PlantNoDirSync Plant = "no-dir-sync"
	// PlantCursorFirst is a Store that saves the cursor in a commit of its own, before
	// the effects.
	PlantCursorFirst Plant = "cursor-first"
	// PlantEffectsFirst is a Store that saves the effects in a commit of their own,
	// before the cursor.
	PlantEffectsFirst Plant = "effects-first"
)

// Plants are all of them.
var Plants = []Plant{PlantLyingFlush, PlantNoDirSync, PlantCursorFirst, PlantEffectsFirst}
