"""What each side holds: the same users, groups and members under the same names."""

import msgspec


class Dataset(msgspec.Struct, frozen=True):
    """`spare_groups` are there to be deleted. Users, groups and members are numbers from 0; the administrator, and
    groups that a server makes itself, come on top.
    """

    users: int
    groups: int
    members: int
    spare_groups: int

    @property
    def usernames(self) -> list[str]:
        """The names of the users."""
        return [f"u{number:05}" for number in range(self.users)]

    @property
    def group_names(self) -> list[str]:
        """The names of the groups, the spare ones last."""
        return [f"course-{number:04}" for number in range(self.groups + self.spare_groups)]

    def memberships(self) -> list[tuple[int, int]]:
        """Group and user of each member, by number: the members of a group are neighbours, and those of the spare
        groups are in the last tenth of the users, so that those on the first page have one group each.
        """
        found = [(group, self._member(group, place)) for group in range(self.groups) for place in range(self.members)]
        last_tenth = self.users // 10
        for spare in range(self.spare_groups):
            for place in range(self.members):
                user = self.users - 1 - (spare * self.members + place) % last_tenth
                found.append((self.groups + spare, user))
        return found

    def newcomer(self, number: int) -> tuple[int, int]:
        """Group and user of the membership that is added as number so-and-so; nobody has it yet."""
        group = number % self.groups
        return group, self._member(group, self.members + number // self.groups)

    def spare_group(self, number: int) -> int:
        """The group that is deleted as number so-and-so."""
        if number >= self.spare_groups:
            raise IndexError(f"there are only {self.spare_groups} groups to delete")
        return self.groups + number

    def _member(self, group: int, place: int) -> int:
        return (group * self.members + place) % self.users
