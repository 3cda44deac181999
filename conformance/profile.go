package conformance

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sort"
)

//go:embed profiles.yaml
var profilesText []byte

// DefaultProfile is the name of the configuration that nothing was changed in.
const DefaultProfile = "default"

// A Profile is a configuration of the target that some cases need.
type Profile struct {
	// Name is what cases and Target.Profile call it.
	Name string
	// Doc says what is special about it.
	Doc string
	// Config is the settings that differ from the defaults, as JSON (and so as YAML) in the shape of Weir's configuration.
	Config json.RawMessage
	// Limits are the bounds that the settings change, for Target.Limits.
	Limits map[string]int64
}

// Profiles lists the configurations under which cases run, by name.
func Profiles() ([]Profile, error) {
	tree, err := parseYAML(profilesText)
	if err != nil {
		return nil, fmt.Errorf("profiles.yaml: %w", err)
	}
	var read map[string]struct {
		Doc    string          `json:"doc"`
		Config json.RawMessage `json:"config"`
	}
	if err := decodeStrict(tree.json(), &read); err != nil {
		return nil, fmt.Errorf("profiles.yaml: %w", err)
	}
	profiles := make([]Profile, 0, len(read))
	for name, p := range read {
		limits, err := limitsOf(p.Config)
		if err != nil {
			return nil, fmt.Errorf("profiles.yaml: %s: %w", name, err)
		}
		profiles = append(profiles, Profile{Name: name, Doc: p.Doc, Config: p.Config, Limits: limits})
	}
	sort.Slice(profiles, func(i, j int) bool { return profiles[i].Name < profiles[j].Name })
	return profiles, nil
}

// limitsOf picks the settings that cases know as limits out of a configuration.
func limitsOf(config json.RawMessage) (map[string]int64, error) {
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(config, &settings); err != nil {
		return nil, err
	}
	limits := map[string]int64{}
	known := DefaultLimits()
	for _, section := range []string{"limits", "json", "produce", "stream"} {
		var values map[string]json.RawMessage
		if settings[section] == nil {
			continue
		}
		if err := json.Unmarshal(settings[section], &values); err != nil {
			return nil, err
		}
		for name, value := range values {
			if section == "stream" && name == "max_record_bytes" {
				name = "stream_record_bytes"
			}
			var number int64
			if _, ok := known[name]; ok && json.Unmarshal(value, &number) == nil {
				limits[name] = number
			}
		}
	}
	return limits, nil
}
