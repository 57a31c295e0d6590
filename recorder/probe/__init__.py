"""The probe: asks a venue what its protocol page leaves uncertain, and keeps the answers as captures."""
