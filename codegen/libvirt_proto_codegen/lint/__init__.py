"""Schema → Findings: the checks that libvirt's reviewers make by hand. `docs/lint.md` documents the rules."""
