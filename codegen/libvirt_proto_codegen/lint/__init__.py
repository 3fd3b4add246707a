"""Schema → Findings: what libvirt's reviewers check by hand. `docs/lint.md` says more of the rules."""
