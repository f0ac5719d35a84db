# Where things are, for the scripts beside this file. Sourced by bash; sets `user` to yes or no, and the paths.
# shellcheck shell=bash disable=SC2034

say() { printf 'hearth: %s\n' "$*"; }
die() {
  printf 'hearth: %s\n' "$*" >&2
  exit 1
}

# choose_paths yes|no: for the person who calls (yes), or for the whole machine.
choose_paths() {
  user=$1
  if [ "$user" = yes ]; then
    [ "$(id -u)" -ne 0 ] || die "--user is for the person at the desktop: run it without sudo"
    prefix=$HOME/.local/share/hearth # as the unit has it
    config=${XDG_CONFIG_HOME:-$HOME/.config}/hearth
    state=${XDG_STATE_HOME:-$HOME/.local/state}/hearth
    units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    unit_source=hearth-user.service
    systemctl=(systemctl --user)
    journal="journalctl --user -u hearth"
  else
    [ "$(id -u)" -eq 0 ] || die "run this as root: sudo $0"
    prefix=/opt/hearth
    config=/etc/hearth
    state=/var/lib/hearth
    units=/etc/systemd/system
    unit_source=hearth.service
    systemctl=(systemctl)
    journal="journalctl -u hearth"
  fi
  unit=$units/hearth.service
}

# Whether a service manager runs that may be asked to start something.
manager_runs() {
  if [ "$user" = yes ]; then
    systemctl --user show-environment >/dev/null 2>&1
  else
    [ -d /run/systemd/system ]
  fi
}

reload_manager() { if manager_runs; then "${systemctl[@]}" daemon-reload; fi; }

# extras_folder PYTHON: where systemd/extra puts what this version of Python can use.
extras_folder() { "$1" -c 'import sys; print("{}/extras/python{}.{}".format(sys.argv[1], *sys.version_info))' "$prefix"; }

# select_version FOLDER: this version's program and unit are the ones that the next start takes. Each is there whole or not
# at all, also after a power cut.
select_version() {
  ln -sfn "versions/$(basename "$1")" "$prefix/current.new"
  mv -T "$prefix/current.new" "$prefix/current"
  if ! cmp -s "$1/hearth.service" "$unit"; then
    install -D -m 644 "$1/hearth.service" "$unit.new"
    sync "$unit.new"
    mv -T "$unit.new" "$unit"
    reload_manager
  fi
  sync -f "$prefix" "$units"
}
