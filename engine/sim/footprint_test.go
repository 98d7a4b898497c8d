package sim

import (
	"reflect"
	"strings"
	"unsafe"
)

// footprint is how many bytes hang on a value: capacities of slices, maps,
// strings and what pointers lead to, each once. What belongs to the world and
// its disks is left out, as are functions and channels.
func footprint(roots ...any) int {
	f := walker{seen: map[unsafe.Pointer]bool{}}
	for _, root := range roots {
		f.walk(reflect.ValueOf(root))
	}
	return f.bytes
}

type walker struct {
	seen  map[unsafe.Pointer]bool
	bytes int
}

// once is false for memory that was counted already.
func (f *walker) once(at unsafe.Pointer) bool {
	if at == nil || f.seen[at] {
		return false
	}
	f.seen[at] = true
	return true
}

// foreign is what others own.
func foreign(t reflect.Type) bool {
	return strings.HasSuffix(t.PkgPath(), "engine/sim") || strings.HasSuffix(t.PkgPath(), "store/vfs")
}

func (f *walker) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if foreign(v.Type().Elem()) || !f.once(v.UnsafePointer()) {
			return
		}
		f.bytes += int(v.Type().Elem().Size())
		f.walk(v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			f.walk(v.Elem())
		}
	case reflect.Struct:
		if foreign(v.Type()) {
			return
		}
		for i := range v.NumField() {
			f.walk(v.Field(i))
		}
	case reflect.Slice:
		if !f.once(v.UnsafePointer()) {
			return
		}
		f.bytes += v.Cap() * int(v.Type().Elem().Size())
		f.elements(v)
	case reflect.Array:
		f.elements(v)
	case reflect.String:
		f.bytes += v.Len()
	case reflect.Map:
		f.bytes += v.Len() * int(v.Type().Key().Size()+v.Type().Elem().Size())
		for entries := v.MapRange(); entries.Next(); {
			f.walk(entries.Key())
			f.walk(entries.Value())
		}
	}
}

// elements walks what elements lead to, if they lead anywhere.
func (f *walker) elements(v reflect.Value) {
	switch v.Type().Elem().Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.String, reflect.Map:
		for i := range v.Len() {
			f.walk(v.Index(i))
		}
	}
}
